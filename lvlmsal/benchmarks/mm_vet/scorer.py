"""MM-Vet: official grade files, or answers with a judge's replies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from lvlmsal.benchmarks.answers.judge_reply_files import give_replies
from lvlmsal.benchmarks.mm_vet.counts import TRIES, mm_vet_grade
from lvlmsal.benchmarks.mm_vet.files import (
    MmVetQuestion,
    read_mm_vet,
    read_mm_vet_answers,
    read_mm_vet_grades,
)
from lvlmsal.benchmarks.mm_vet.metric import MmVetMetric
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers
from lvlmsal.errors import ConfigError
from lvlmsal.metrics.judge_prompts import OWN
from lvlmsal.registry import SCORERS


@SCORERS.register("mm-vet")
@dataclass(kw_only=True)
class MmVetScorer(Scorer):
    """Official grade files, or an answer file with a judge's replies.

    Args:
        questions: Question file, mm-vet.json.
        grades: Grade file of the official script: id -> score, content.
        answers: Answer file: id -> text.
        replies: The judge's replies, needed with answers: RUN/judge.jsonl, or lines with id, reply
            and attempt, which is 5 * run + try (both counted from 0), so that the first run has the
            attempts 0 to 4 and the second 5 to 9; without attempt it is 0.
        judge: Which judge counts where the replies are those of several: its model.
        judge_prompt: The prompt that the replies were fetched with: lvlmsal-1, or a text file.
        judge_runs: How often every answer was judged; grade files say so.
        seed: Seed of the intervals.
    """

    summary: ClassVar[str] = "Grades, or answers with a judge's replies: means by capability."
    paper: ClassVar[str] = "Yu et al., MM-Vet, ICML 2024"
    url: ClassVar[str] = "https://github.com/yuweihao/MM-Vet"

    questions: Path
    grades: Path | None = None
    answers: Path | None = None
    replies: Path | None = None
    judge: str = ""
    judge_prompt: str = OWN
    judge_runs: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check which files are given.

        Raises:
            ConfigError: Neither grades nor answers with replies, or both.
        """
        judged = [self.answers is not None, self.replies is not None]
        if self.grades is None and not all(judged):
            raise ConfigError(
                ["give grades (--grades), or answers together with replies (--answers, --replies)"]
            )
        if self.grades is not None and any(judged):
            raise ConfigError(["give grades, or answers together with replies, not both"])

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`."""
        asked = read_mm_vet(self.questions)
        metric, rows, warnings = (
            self._of_answers(asked) if self.grades is None else self._of_grades(self.grades, asked)
        )
        return {
            "metric": "mm-vet",
            "variant": metric.variant if self.grades is None else "official grades",
            "judge_runs": metric.judge_runs,
            **numbers(metric, rows),
            "intervals": bounds(metric, rows, [q.image for q in asked], self.seed),
            "warnings": [*warnings, *metric.unread(rows)],
        }

    def _of_grades(
        self, path: Path, asked: list[MmVetQuestion]
    ) -> tuple[MmVetMetric, Tensor, list[str]]:
        graded = read_mm_vet_grades(path, asked)
        metric = MmVetMetric(judge_runs=len(graded[0]))
        # a zero next to a text that holds no grade is what the official script writes at the end
        grades = [
            [
                None if score == 0 and text is not None and mm_vet_grade(text) is None else score
                for score, text in some
            ]
            for some in graded
        ]
        rows = metric.rows_of_grades(grades, [question.capabilities for question in asked])
        return metric, rows, []

    def _of_answers(self, asked: list[MmVetQuestion]) -> tuple[MmVetMetric, Tensor, list[str]]:
        assert self.answers is not None  # checked when the scorer was made
        assert self.replies is not None
        metric = MmVetMetric(judge_prompt=self.judge_prompt, judge_runs=self.judge_runs)
        answers = read_mm_vet_answers(self.answers, asked)
        targets = [question.target for question in asked]
        asks = {
            question.question_id: partial(metric.requests, answer, question.target)
            for question, answer in zip(asked, answers, strict=True)
        }
        warnings = give_replies(
            metric,
            self.replies,
            asks,
            judge=self.judge,
            last_attempt=TRIES * self.judge_runs - 1,
            numbering=(
                f"MM-Vet's attempts are {TRIES} * run + try, both counted from 0: 0 to {TRIES - 1} "
                f"are the tries of the first run, and the second begins with {TRIES}. judge_runs "
                f"(--judge-runs) says how many runs there are, now {self.judge_runs}."
            ),
        )
        return metric, metric.rows(answers, targets), warnings
