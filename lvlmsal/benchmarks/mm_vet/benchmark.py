"""MM-Vet: questions that call for several capabilities at once, judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.benchmarks.mm_vet.counts import CAPABILITIES
from lvlmsal.benchmarks.mm_vet.files import read_mm_vet
from lvlmsal.benchmarks.mm_vet.layout import write_mm_vet
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.judge_prompts import OWN, prompt_in
from lvlmsal.readers.hub import Layout
from lvlmsal.registry import BENCHMARKS, METRICS


@BENCHMARKS.register("mm-vet")
@dataclass(eq=False, kw_only=True)
class MmVet(Benchmark):
    """The 218 questions of MM-Vet, version 1 (Yu et al. 2023).

    Expected layout, that of the official archive::

        root/mm-vet.json           id -> imagename, question, answer, capability
        root/images/v1_0.png ...

    Answers are judged (``lvlmsal judge``): without a judge's replies there are no figures.

    Args:
        questions: Question file, absolute or relative to `root`.
        judge_prompt: ``lvlmsal-1``, or a text file with the official few-shot prompt, absolute or
            relative to `root`.
        judge_runs: How often every answer is judged; 5 in the paper.
    """

    summary: ClassVar[str] = "Questions that call for several capabilities at once, judged."
    paper: ClassVar[str] = "Yu et al., MM-Vet, ICML 2024"
    url: ClassVar[str] = "https://arxiv.org/abs/2308.02490"
    layout: ClassVar[Layout | None] = staticmethod(write_mm_vet)
    expected: ClassVar[dict[str, dict[str, int]]] = {"mm-vet": {"samples": 218}}
    examples: ClassVar[tuple[tuple[str, Any], ...]] = tuple(
        (text, {"question": text, "answer": "a dog", "capability": ["rec"]})
        for text in ("What is shown?", "What barks?")
    )

    max_new_tokens: int = 1024
    questions: str = "mm-vet.json"
    judge_prompt: str = OWN
    judge_runs: int = 1

    def data_files(self) -> list[Path]:
        """The question file."""
        return [Path(self.root) / self.questions]

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per question."""
        (path,) = self.data_files()
        samples: list[Sample] = []
        for question in read_mm_vet(path):
            source = f"{path}: {question.question_id}"
            if strange := sorted(set(question.capabilities) - set(CAPABILITIES)):
                problems.append(
                    f"{source}: unknown capabilities {strange}; known: {', '.join(CAPABILITIES)}"
                )
                continue
            samples += self.one_sample(
                problems,
                id=question.question_id,
                image=question.image,
                question=question.text,
                target=question.target,
                source=source,
            )
        return samples

    def metric(self) -> CountMetric:
        """Mean grades by capability."""
        return METRICS.build(
            "mm-vet",
            judge_prompt=prompt_in(self.root, self.judge_prompt),
            judge_runs=self.judge_runs,
        )
