"""LLaVA-Bench (in the wild): open questions on images, judged against reference answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.benchmarks.llava_bench.counts import Reading
from lvlmsal.benchmarks.llava_bench.files import read_llava_bench
from lvlmsal.benchmarks.llava_bench.layout import write_llava_bench
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.judge_prompts import OWN, prompt_in
from lvlmsal.readers.hub import Layout
from lvlmsal.registry import BENCHMARKS, METRICS


@BENCHMARKS.register("llava-bench")
@dataclass(eq=False, kw_only=True)
class LlavaBench(Benchmark):
    """The 60 questions of LLaVA-Bench (in the wild) on 24 images (Liu et al. 2023).

    Expected layout, that of the official release::

        root/questions.jsonl       JSON lines: question_id, image, category, text
        root/context.jsonl         image, caption
        root/answers_gpt4.jsonl    question_id, text: the reference answers
        root/images/001.jpg ...

    Answers are judged (``lvlmsal judge``): without a judge's replies there are no figures.

    Args:
        questions: Question file, absolute or relative to `root`.
        context: File of descriptions of the images, absolute or relative to `root`.
        reference: File of reference answers, absolute or relative to `root`.
        reading: How scores are read from a reply: official or lmms-eval.
        judge_prompt: ``lvlmsal-1``, or the official ``rule.json``, absolute or relative to `root`.
    """

    summary: ClassVar[str] = "Open questions in the wild, judged relative to reference answers."
    paper: ClassVar[str] = "Liu et al., Visual Instruction Tuning, NeurIPS 2023"
    url: ClassVar[str] = "https://github.com/haotian-liu/LLaVA"
    layout: ClassVar[Layout | None] = staticmethod(write_llava_bench)
    expected: ClassVar[dict[str, dict[str, int]]] = {"llava-bench": {"samples": 60, "images": 24}}
    examples: ClassVar[tuple[tuple[str, Any], ...]] = tuple(
        (
            "What is shown?",
            {
                "question": "What is shown?",
                "context": "A dog on a lawn.",
                "reference": "A dog.",
                "category": category,
            },
        )
        for category in ("conv", "detail")
    )

    max_new_tokens: int = 1024
    questions: str = "questions.jsonl"
    context: str = "context.jsonl"
    reference: str = "answers_gpt4.jsonl"
    reading: Reading = "official"
    judge_prompt: str = OWN

    def data_files(self) -> list[Path]:
        """Questions, contexts and reference answers."""
        return [Path(self.root) / name for name in (self.questions, self.context, self.reference)]

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per question."""
        path, *others = self.data_files()
        samples: list[Sample] = []
        for question in read_llava_bench(path, *others):
            source = f"{path}:{question.line}"
            samples += self.one_sample(
                problems,
                id=str(question.question_id),
                image=question.image,
                question=question.text,
                target=question.target,
                source=source,
            )
        return samples

    def metric(self) -> CountMetric:
        """Ratios of judged scores."""
        return METRICS.build(
            "llava-bench",
            reading=self.reading,
            judge_prompt=prompt_in(self.root, self.judge_prompt),
        )
