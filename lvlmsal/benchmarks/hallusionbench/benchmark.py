"""HallusionBench: questions on images and on edited versions of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.benchmarks.hallusionbench.counts import unit_sizes
from lvlmsal.benchmarks.hallusionbench.files import HallusionQuestion, read_hallusionbench
from lvlmsal.benchmarks.hallusionbench.layout import write_hallusionbench
from lvlmsal.benchmarks.hallusionbench.metric import HallusionRule
from lvlmsal.errors import DataError
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.judge_prompts import OWN, prompt_in
from lvlmsal.readers.hub import Layout
from lvlmsal.registry import BENCHMARKS, METRICS


@BENCHMARKS.register("hallusionbench")
@dataclass(eq=False, kw_only=True)
class HallusionBench(Benchmark):
    """HallusionBench (Guan et al. 2024): yes-or-no questions in sets of related figures.

    Expected layout, as the question file and the archive of images come::

        root/HallusionBench.json                        a list; all values are text, or null
        root/hallusion_bench/VD/illusion/0_0.png ...

    A question without an image is asked without one. Groups for the intervals are the sets
    (category, subcategory, set id), within which figures and question pairs lie.

    Args:
        split: ``all``; ``image``, only the questions with an image, as lmms-eval scores; or
            ``non_image``, the others.
        questions: Question file, absolute or relative to `root`.
        rule: How an answer is judged: ``judge`` (official; needs a judge model's replies), or
            ``strict``, ``lmms-eval``, ``vlmevalkit``, which read yes or no off it.
        judge_prompt: ``lvlmsal-1``, or a text file with the judge's prompt, absolute or relative
            to `root`.
    """

    summary: ClassVar[str] = "Yes-no questions on images and edited images, in related sets."
    paper: ClassVar[str] = "Guan et al., HallusionBench, CVPR 2024"
    url: ClassVar[str] = "https://arxiv.org/abs/2310.14566"
    layout: ClassVar[Layout | None] = staticmethod(write_hallusionbench)
    image_folders: ClassVar[tuple[str, ...]] = ("hallusion_bench", "images")
    expected: ClassVar[dict[str, dict[str, int]]] = {
        "hallusionbench": {"samples": 1129, "images": 346},
        "hallusionbench/image": {"samples": 951, "images": 346},
        "hallusionbench/non_image": {"samples": 178, "images": 0},
    }
    examples: ClassVar[tuple[tuple[str, Any], ...]] = tuple(
        (
            "Is it so?",
            {
                "category": "VD",
                "subcategory": "figure",
                "set_id": "0",
                "figure_id": "1",
                "question_id": str(number),
                "visual_input": 1,
                "question": "Is it so?",
                "gt_answer": number,
                "gt_answer_details": "It is so.",
                "whole": {"figure": 2, "pair": 1, "level": 1},
            },
        )
        for number in (0, 1)
    )

    max_new_tokens: int = 128
    split: Literal["all", "image", "non_image"] = "all"
    questions: str = "HallusionBench.json"
    rule: HallusionRule = "judge"
    judge_prompt: str = OWN

    @property
    def label(self) -> str:
        """``hallusionbench``, with the split where it is not ``all``."""
        return str(self.name) if self.split == "all" else f"{self.name}/{self.split}"

    def question_file(self) -> Path:
        """The question file that the options name."""
        return Path(self.root) / self.questions

    def data_files(self) -> list[Path]:
        """The question file, and the judge's prompt where it is a file."""
        prompts = [] if self.judge_prompt == OWN else [Path(self.root) / self.judge_prompt]
        return [self.question_file(), *prompts]

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per question of the split."""
        path = self.question_file()
        chosen = [q for q in read_hallusionbench(path) if self._is_chosen(q)]
        samples = []
        sizes = unit_sizes([question.target for question in chosen])
        for question, whole in zip(chosen, sizes, strict=True):
            source = f"{path}:{question.row.line}"
            try:
                images = [] if question.image is None else [question.image]
                paths = tuple(self.image_path(image, source) for image in images)
            except DataError as error:
                problems.append(str(error))
                continue
            samples.append(
                Sample(
                    id=question.id,
                    images=paths,
                    prompt=self.prompt.replace("{question}", question.question),
                    target={**question.target, "whole": whole},
                    group=question.group,
                    source=source,
                )
            )
        return samples

    def metric(self) -> CountMetric:
        """HallusionBench's figures under `rule`."""
        prompt = prompt_in(self.root, self.judge_prompt)
        return METRICS.build("hallusionbench", rule=self.rule, judge_prompt=prompt)

    def _is_chosen(self, question: HallusionQuestion) -> bool:
        return self.split == "all" or (question.image is not None) == (self.split == "image")
