"""VizWiz VQA: submissions and LLaVA's answer files scored against annotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lvlmsal.benchmarks.answers.answer_files import match_rows
from lvlmsal.benchmarks.answers.texts import answer_texts
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers, rules_named
from lvlmsal.benchmarks.vizwiz.benchmark import vizwiz_target
from lvlmsal.benchmarks.vizwiz.files import read_vizwiz_prompts, read_vizwiz_questions
from lvlmsal.benchmarks.vizwiz.metric import VQA_RULES, VizwizMetric
from lvlmsal.errors import DataError
from lvlmsal.readers.rows import Row, listed, read_json_rows
from lvlmsal.registry import SCORERS


@SCORERS.register("vizwiz")
@dataclass(kw_only=True)
class VizwizScorer(Scorer):
    """Answers to questions of VizWiz VQA.

    Args:
        annotations: Annotation file with answers, such as Annotations/val.json.
        answers: Answer file: a submission (image, answer) or LLaVA's (question_id, text).
        questions: LLaVA's question file, which says which image a question_id stands for.
        rule: Rule that compares answers with those of people.
        rules: More rules to show the score under, comma-separated; ``all`` for every one.
        seed: Seed of the intervals.

    Raises:
        UnknownName: No rule has that name.
    """

    summary: ClassVar[str] = "Answers to VizWiz VQA (submissions, and LLaVA's layout)."
    paper: ClassVar[str] = "Gurari et al., VizWiz Grand Challenge, CVPR 2018"
    url: ClassVar[str] = "https://vizwiz.org/tasks-and-datasets/vqa/"

    annotations: Path
    answers: Path
    questions: Path | None = None
    rule: str = "vizwiz-api"
    rules: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the names of the rules.

        Raises:
            UnknownName: No rule has that name.
        """
        VizwizMetric(rule=self.rule)
        rules_named("rule", self.rules, VQA_RULES)

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`; ``rules`` holds the figures of every rule, if asked for."""
        metric = VizwizMetric(rule=self.rule)
        asked = read_vizwiz_questions(self.annotations)
        if not asked[0].answers:
            raise DataError(
                "the questions have no 'answers' (the test split has none), so there is nothing "
                "to compare with",
                path=self.annotations,
            )
        given = self._given({question.image: question.question for question in asked})
        said = [given[question.image] for question in asked]
        targets = [vizwiz_target(question) for question in asked]
        rows = metric.rows(said, targets)
        result: dict[str, Any] = {
            "metric": "vizwiz",
            "rule": self.rule,
            "note": VQA_RULES[self.rule].summary,
            **numbers(metric, rows),
            "intervals": bounds(metric, rows, [q.image for q in asked], self.seed),
        }
        if names := rules_named("rule", self.rules, VQA_RULES):
            metrics = {name: VizwizMetric(rule=name) for name in names}
            result["rules"] = {
                name: numbers(rule, rule.rows(said, targets)) for name, rule in metrics.items()
            }
        return result

    def _given(self, known: dict[str, str]) -> dict[str, str]:
        """One answer for each image; `known` has the questions."""
        rows = read_json_rows(self.answers)
        images = {}
        if self.questions is not None:
            images = {p.question_id: p.image for p in read_vizwiz_prompts(self.questions)}

        def image_of(row: Row) -> str:
            if "image" in row.data:
                return row.text("image")
            if self.questions is None:
                raise row.error(
                    "there is no 'image'; give the question file that says which image a "
                    "question_id stands for: --questions llava_test.jsonl"
                )
            question_id = row.identifier("question_id")
            if question_id not in images:
                raise row.error(f"the question_id {question_id!r} is not in {self.questions}")
            return images[question_id]

        found = match_rows(rows, image_of, set(known), "image")
        if missing := sorted(known.keys() - found.keys()):
            raise DataError(
                f"{len(missing)} of {len(known)} questions have no answer: {listed(missing)}",
                path=self.answers,
            )
        texts = answer_texts(list(found.values()), [known[image] for image in found])
        return dict(zip(found, texts, strict=True))
