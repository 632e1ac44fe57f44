"""POPE: answer files scored under one rule or under all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lvlmsal.benchmarks.pope.answer_files import read_pope_answers
from lvlmsal.benchmarks.pope.files import PopeQuestion, read_pope_questions
from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers, rules_named
from lvlmsal.metrics.answer_parsers import PARSERS, get_parser
from lvlmsal.registry import SCORERS


@SCORERS.register("pope")
@dataclass(kw_only=True)
class PopeScorer(Scorer):
    """Answers to a file of POPE questions.

    Args:
        questions: Question file: JSON lines or an array, see `read_pope_questions`.
        answers: Answer file: JSON lines or an array, see `read_pope_answers`.
        labels: Folder of POPE's own files, if the question file is LLaVA's merged one, which has
            no labels.
        parser: Rule that reads yes or no from an answer.
        parsers: More rules to show the score under, comma-separated; ``all`` for every one.
        seed: Seed of the intervals.

    Raises:
        UnknownName: No rule has that name.
    """

    summary: ClassVar[str] = "Answers to POPE questions (layouts of POPE, LLaVA, VCD and PAI)."
    paper: ClassVar[str] = "Li et al., Evaluating Object Hallucination in LVLMs, EMNLP 2023"
    url: ClassVar[str] = "https://github.com/AoiDragon/POPE"

    questions: Path
    answers: Path
    labels: Path | None = None
    parser: str = "strict"
    parsers: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the names of the rules.

        Raises:
            UnknownName: No rule has that name.
        """
        get_parser(self.parser)
        rules_named("parser", self.parsers, PARSERS)

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`; ``parsers`` and ``categories`` hold figures by rule and category."""
        metric = PopeMetric(parser=self.parser)
        warnings: list[str] = []
        asked = read_pope_questions(self.questions, self.labels)
        given = read_pope_answers(self.answers, asked, warnings)
        labels = [question.label for question in asked]
        rows = metric.rows(given, labels)
        result: dict[str, Any] = {
            "metric": "pope",
            "parser": self.parser,
            "note": get_parser(self.parser).note,
            **numbers(metric, rows),
            "intervals": bounds(metric, rows, [question.image for question in asked], self.seed),
            "warnings": warnings,
        }
        categories = _by_category(asked)
        if len(categories) > 1:
            result["categories"] = {
                name: numbers(metric, rows[places]) for name, places in categories.items()
            }
        if names := rules_named("parser", self.parsers, PARSERS):
            rules = {name: PopeMetric(parser=name) for name in names}
            result["parsers"] = {
                name: numbers(rule, rule.rows(given, labels)) for name, rule in rules.items()
            }
        return result


def _by_category(questions: list[PopeQuestion]) -> dict[str, list[int]]:
    """Places of the questions of each category."""
    places: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        places.setdefault(question.category, []).append(place)
    return places
