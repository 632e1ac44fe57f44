"""Video-ChatGPT's benchmark of generated text about videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from lvlmsal.benchmarks.base import Sample
from lvlmsal.benchmarks.video import VideoBenchmark
from lvlmsal.benchmarks.video_chatgpt.metric import prompt_files
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.judge_prompts import OWN, prompt_in
from lvlmsal.readers.video import VideoQuestion, read_benchmark_questions
from lvlmsal.registry import BENCHMARKS, METRICS

PARTS: Final[dict[str, tuple[str, ...]]] = {
    "generic": ("correctness", "detail", "context"),
    "temporal": ("temporal",),
    "consistency": ("consistency",),
}
"""The question files, and which scores the answers to each of them enter."""


@BENCHMARKS.register("video-chatgpt")
@dataclass(eq=False, kw_only=True)
class VideoChatGpt(VideoBenchmark):
    """Video-ChatGPT's text generation benchmark (Maaz et al. 2024): five judged scores.

    Expected layout::

        root/generic_qa.json                list of {video_name, Q, A}: correctness, detail, context
        root/temporal_qa.json               list of {video_name, Q, A}
        root/consistency_qa.json            list of {video_name, Q1, Q2, A}
        root/frames/v_VIDEO/0001.png ...    or frames/VIDEO; see `lvlmsal data frames`

    Each answer to a generic question enters three scores. The two questions of the consistency
    file are two samples, judged together.

    Args:
        part: ``all``, or one question file: generic, temporal, consistency.
        rule: How the judge's replies are read: official, lmms-eval or strict, see
            `lvlmsal.metrics.judge_replies`.
        judge_prompts: ``lvlmsal-1``, or a folder with one prompt file for each score, absolute or
            relative to `root`, see the metric.
        second_question: Which question the judge is shown as the second of a pair: ``shown`` is
            the one that was asked, ``official`` the first one again, as in the official script.
    """

    summary: ClassVar[str] = "Texts about videos, judged: five scores from 0 to 5."
    paper: ClassVar[str] = "Maaz et al., Video-ChatGPT, ACL 2024"
    url: ClassVar[str] = "https://arxiv.org/abs/2306.05424"
    folder_prefixes: ClassVar[tuple[str, ...]] = ("", "v_")
    examples: ClassVar[tuple[tuple[str, Any], ...]] = tuple(
        (text, {"aspects": ["context"], "question": text, "answer": "A dog runs."})
        for text in ("What happens?", "What is shown?")
    )

    max_new_tokens: int = 512
    part: Literal["all", "generic", "temporal", "consistency"] = "all"
    rule: Literal["official", "lmms-eval", "strict"] = "official"
    judge_prompts: str = OWN
    second_question: Literal["shown", "official"] = "shown"

    @property
    def label(self) -> str:
        """``video-chatgpt``, with the part where it is not ``all``."""
        return str(self.name) if self.part == "all" else f"{self.name}/{self.part}"

    @property
    def parts(self) -> list[str]:
        """The question files that are read."""
        return list(PARTS) if self.part == "all" else [self.part]

    def data_files(self) -> list[Path]:
        """The question files, and the judge's prompts where they are files."""
        questions = [Path(self.root) / f"{part}_qa.json" for part in self.parts]
        return [*questions, *prompt_files(prompt_in(self.root, self.judge_prompts))]

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per question, two per line of the consistency file."""
        frames: dict[str, tuple[Path, ...]] = {}
        samples = []
        for part in self.parts:
            path = Path(self.root) / f"{part}_qa.json"
            for item in read_benchmark_questions(path):
                source = f"{path}:{item.row.line}"
                if bool(item.second) != (part == "consistency"):
                    expected = "'Q1' and 'Q2'" if part == "consistency" else "'Q'"
                    problems.append(f"{source}: the questions of this file must be in {expected}")
                    continue
                images = self.frame_paths(item.video, source, frames, problems)
                if not images:
                    continue
                samples += self._samples(part, item, images, source)
        return samples

    def metric(self) -> CountMetric:
        """The five scores under `rule`."""
        return METRICS.build(
            "video-chatgpt",
            rule=self.rule,
            judge_prompts=prompt_in(self.root, self.judge_prompts),
            second_question=self.second_question,
        )

    def _samples(
        self, part: str, item: VideoQuestion, images: tuple[Path, ...], source: str
    ) -> list[Sample]:
        asked = [text for text in (item.question, item.second) if text]
        return [
            Sample(
                id=f"{part}/{item.id}" + (f"/{number}" if item.second else ""),
                images=images,
                prompt=self.prompt.replace("{question}", text),
                target=benchmark_target(part, item, number),
                group=item.video,
                source=source,
                **self.shown_as,
            )
            for number, text in enumerate(asked, start=1)
        ]


def benchmark_target(part: str, item: VideoQuestion, number: int = 1) -> dict[str, object]:
    """What the metric needs to know of one question of a file, the first or second of a pair."""
    target: dict[str, object] = {"aspects": list(PARTS[part]), "answer": item.answer}
    if not item.second:
        return {**target, "question": item.question}
    first, second = item.question, item.second
    asked = {"question": first, "question2": second} if number == 1 else {"question": second}
    return {**target, **asked, "pair": item.id, "part": number}
