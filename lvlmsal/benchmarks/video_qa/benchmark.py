"""Open questions on videos: ActivityNet-QA, MSVD-QA and MSRVTT-QA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.base import Sample
from lvlmsal.benchmarks.video import VideoBenchmark
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.judge_prompts import OWN, prompt_in
from lvlmsal.readers.video import read_video_questions
from lvlmsal.registry import BENCHMARKS, METRICS


@dataclass(eq=False, kw_only=True)
class VideoQa(VideoBenchmark):
    """What the three share; see `ActivityNetQa`."""

    url: ClassVar[str] = "https://arxiv.org/abs/2306.05424"
    number_prefix: ClassVar[str] = ""
    examples: ClassVar[tuple[tuple[str, Any], ...]] = tuple(
        (text, {"question": text, "answer": "dog"}) for text in ("What runs?", "Who barks?")
    )

    max_new_tokens: int = 64
    questions: str = "test_qa.json"
    answers: str | None = None
    rule: Literal["official", "lmms-eval", "strict"] = "official"
    judge_prompt: str = OWN

    def data_files(self) -> list[Path]:
        """The files of questions and answers, and the judge's prompt where it is a file."""
        root = Path(self.root)
        files = [root / self.questions]
        if self.answers is not None:
            files.append(root / self.answers)
        if self.judge_prompt != OWN:
            files.append(root / self.judge_prompt)
        return files

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per question; a video without frames is one problem."""
        root = Path(self.root)
        path = root / self.questions
        answers = None if self.answers is None else root / self.answers
        frames: dict[str, tuple[Path, ...]] = {}
        samples = []
        for item in read_video_questions(path, answers, number_prefix=self.number_prefix):
            source = f"{path}:{item.row.line}"
            images = self.frame_paths(item.video, source, frames, problems)
            if not images:
                continue
            samples.append(
                Sample(
                    id=item.id,
                    images=images,
                    prompt=self.prompt.replace("{question}", item.question),
                    target={"question": item.question, "answer": item.answer},
                    group=item.video,
                    source=source,
                    **self.shown_as,
                )
            )
        return samples

    def metric(self) -> CountMetric:
        """Accuracy and score under `rule`."""
        prompt = prompt_in(self.root, self.judge_prompt)
        return METRICS.build("video-qa", rule=self.rule, judge_prompt=prompt)


@BENCHMARKS.register("activitynet-qa")
@dataclass(eq=False, kw_only=True)
class ActivityNetQa(VideoQa):
    """ActivityNet-QA (Yu et al. 2019), judged as by Video-ChatGPT.

    Expected layout::

        root/test_q.json                    list of {video_name, question, question_id}
        root/test_a.json                    list of {answer, type, question_id}
        root/frames/v_VIDEO/0001.png ...    or frames/VIDEO; see `lvlmsal data frames`

    Questions and answers are matched by id, not by position.

    Args:
        questions: Question file, absolute or relative to `root`.
        answers: Answer file, absolute or relative to `root`.
        rule: How the judge's replies are read: official, lmms-eval or strict, see
            `lvlmsal.metrics.judge_replies`.
        judge_prompt: ``lvlmsal-1``, or a text file with the judge's prompt, absolute or relative
            to `root`.
    """

    summary: ClassVar[str] = "Open questions on ActivityNet videos, answers judged."
    paper: ClassVar[str] = "Yu et al., ActivityNet-QA, AAAI 2019"
    folder_prefixes: ClassVar[tuple[str, ...]] = ("v_", "")
    expected: ClassVar[dict[str, dict[str, int]]] = {
        "activitynet-qa": {"samples": 8000, "groups": 800}
    }

    questions: str = "test_q.json"
    answers: str | None = "test_a.json"


@BENCHMARKS.register("msvd-qa")
@dataclass(eq=False, kw_only=True)
class MsvdQa(VideoQa):
    """MSVD-QA (Xu et al. 2017), judged as by Video-ChatGPT.

    Expected layout::

        root/test_qa.json                   list of {video_id (or video, video_name), question,
                                            answer, id}; a video that is a number N is called vidN
        root/frames/vid1451/0001.png ...    see `lvlmsal data frames`

    Args:
        questions: Question file, absolute or relative to `root`.
        answers: Answer file with ``question_id`` and ``answer``, where the answers are in one.
        rule: How the judge's replies are read: official, lmms-eval or strict, see
            `lvlmsal.metrics.judge_replies`.
        judge_prompt: ``lvlmsal-1``, or a text file with the judge's prompt, absolute or relative
            to `root`.
    """

    summary: ClassVar[str] = "Open questions on short video clips (MSVD), answers judged."
    paper: ClassVar[str] = "Xu et al., Video Question Answering via Gradually Refined Attention"
    number_prefix: ClassVar[str] = "vid"


@BENCHMARKS.register("msrvtt-qa")
@dataclass(eq=False, kw_only=True)
class MsrvttQa(VideoQa):
    """MSRVTT-QA (Xu et al. 2017), judged as by Video-ChatGPT.

    Expected layout::

        root/test_qa.json                   list of {video_id (or video, video_name), question,
                                            answer, id}; a video that is a number N is videoN
        root/frames/video7010/0001.png ...  see `lvlmsal data frames`

    Args:
        questions: Question file, absolute or relative to `root`.
        answers: Answer file with ``question_id`` and ``answer``, where the answers are in one.
        rule: How the judge's replies are read: official, lmms-eval or strict, see
            `lvlmsal.metrics.judge_replies`.
        judge_prompt: ``lvlmsal-1``, or a text file with the judge's prompt, absolute or relative
            to `root`.
    """

    summary: ClassVar[str] = "Open questions on web video clips (MSR-VTT), answers judged."
    paper: ClassVar[str] = "Xu et al., Video Question Answering via Gradually Refined Attention"
    number_prefix: ClassVar[str] = "video"
