"""LLaVA-Bench (in the wild): official reviews, or answers with a judge's replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from lvlmsal.benchmarks.answers.judge_reply_files import give_replies
from lvlmsal.benchmarks.llava_bench.counts import Reading, llava_bench_scores
from lvlmsal.benchmarks.llava_bench.files import (
    LlavaBenchQuestion,
    read_llava_bench,
    read_reviews,
    read_texts,
)
from lvlmsal.benchmarks.llava_bench.metric import LlavaBenchMetric
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.metrics.judge_prompts import OWN
from lvlmsal.readers.rows import Identifier, listed
from lvlmsal.registry import SCORERS


@SCORERS.register("llava-bench")
@dataclass(kw_only=True)
class LlavaBenchScorer(Scorer):
    """Official review files, or an answer file with a judge's replies.

    Args:
        reviews: Official review file: question_id, category, content, tuple.
        questions: Question file; needed with answers. With reviews it tells what must be there.
        context: Descriptions of the images, needed with answers.
        reference: Reference answers, needed with answers.
        answers: Answer file: question_id, text.
        replies: The judge's replies, such as RUN/judge.jsonl, needed with answers.
        judge: Which judge counts where the replies are those of several: its model.
        reading: How scores are read from a review: official, lmms-eval.
        judge_prompt: The prompt that the replies were fetched with: lvlmsal-1, or a rule.json.
        seed: Seed of the intervals.
    """

    summary: ClassVar[str] = "Reviews, or answers with a judge's replies: ratio to the reference."
    paper: ClassVar[str] = "Liu et al., Visual Instruction Tuning, NeurIPS 2023"
    url: ClassVar[str] = "https://github.com/haotian-liu/LLaVA"

    reviews: Path | None = None
    questions: Path | None = None
    context: Path | None = None
    reference: Path | None = None
    answers: Path | None = None
    replies: Path | None = None
    judge: str = ""
    reading: Reading = "official"
    judge_prompt: str = OWN
    seed: int = 0

    def __post_init__(self) -> None:
        """Check which files are given.

        Raises:
            ConfigError: Neither reviews nor all that answers need, or both.
        """
        judged = {name: getattr(self, name) for name in ("answers", "replies")}
        around = {name: getattr(self, name) for name in ("questions", "context", "reference")}
        if self.reviews is not None:
            if given := [name for name, path in judged.items() if path is not None]:
                raise ConfigError([f"reviews and {' and '.join(given)} exclude each other"])
            some = [path is not None for path in around.values()]
            if any(some) and not all(some):
                raise ConfigError(["give questions, context and reference together"])
        elif missing := [n for n, path in {**judged, **around}.items() if path is None]:
            raise ConfigError(
                [
                    "give reviews (--reviews), or answers with all they need; not given: "
                    + ", ".join(f"--{name}" for name in missing)
                ]
            )

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`; intervals resample images, or questions where these are not known."""
        metric = LlavaBenchMetric(reading=self.reading, judge_prompt=self.judge_prompt)
        asked = self._questions()
        rows, groups, warnings = (
            self._of_reviews(metric, asked)
            if self.reviews is not None
            else self._of_answers(metric, asked)
        )
        return {
            "metric": "llava-bench",
            "variant": self.reading if self.reviews is not None else metric.variant,
            **numbers(metric, rows),
            "intervals": bounds(metric, rows, groups, self.seed),
            "warnings": [*warnings, *metric.unread(rows)],
        }

    def _questions(self) -> list[LlavaBenchQuestion]:
        if self.questions is None or self.context is None or self.reference is None:
            return []
        return read_llava_bench(self.questions, self.context, self.reference)

    def _of_reviews(
        self, metric: LlavaBenchMetric, asked: Sequence[LlavaBenchQuestion]
    ) -> tuple[Tensor, list[Identifier], list[str]]:
        assert self.reviews is not None  # the caller asks only then
        images = {question.question_id: question.image for question in asked}
        found = read_reviews(self.reviews, images or None)
        rows = metric.rows_of_reviews([r.text for r in found], [r.category for r in found])
        other = [
            r.line
            for r in found
            if r.stored is not None and llava_bench_scores(r.text, self.reading) != r.stored
        ]
        warnings = [
            f"in {len(other)} lines 'tuple' is not what the rule {self.reading!r} reads from "
            f"'content', which counts: lines {listed(other)}"
        ]
        groups = [images.get(r.question_id, r.question_id) for r in found]
        return rows, groups, warnings if other else []

    def _of_answers(
        self, metric: LlavaBenchMetric, asked: Sequence[LlavaBenchQuestion]
    ) -> tuple[Tensor, list[Identifier], list[str]]:
        assert self.answers is not None  # checked when the scorer was made
        assert self.replies is not None
        given = read_texts(self.answers, {q.question_id: q.text for q in asked})
        for kind, ids in (
            ("unknown", given.keys() - {q.question_id for q in asked}),
            ("missing", {q.question_id for q in asked} - given.keys()),
        ):
            if ids:
                raise DataError(
                    f"{len(ids)} of {len(asked)} question_ids are {kind}: "
                    f"{listed(sorted(ids, key=str))}",
                    path=self.answers,
                )
        answers = [given[question.question_id] for question in asked]
        targets = [question.target for question in asked]
        asks = {
            str(question.question_id): partial(metric.requests, answer, target)
            for question, answer, target in zip(asked, answers, targets, strict=True)
        }
        warnings = give_replies(metric, self.replies, asks, judge=self.judge)
        images: list[Identifier] = [question.image for question in asked]
        return metric.rows(answers, targets), images, warnings
