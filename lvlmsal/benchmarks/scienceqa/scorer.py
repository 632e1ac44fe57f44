"""ScienceQA: LLaVA's answer files and official result files scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from lvlmsal.benchmarks.answers.answer_files import match_rows
from lvlmsal.benchmarks.answers.texts import answer_texts
from lvlmsal.benchmarks.scienceqa.benchmark import scienceqa_target
from lvlmsal.benchmarks.scienceqa.choices import CHOICE_RULES
from lvlmsal.benchmarks.scienceqa.files import ScienceqaProblem, read_scienceqa
from lvlmsal.benchmarks.scienceqa.metric import ScienceqaMetric
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers, rules_named
from lvlmsal.errors import DataError
from lvlmsal.readers.rows import Row, listed, read_json_rows, read_text
from lvlmsal.registry import SCORERS


@SCORERS.register("scienceqa")
@dataclass(kw_only=True)
class ScienceqaScorer(Scorer):
    """Answers to problems of ScienceQA.

    Args:
        problems: The file problems.json.
        splits: The file pid_splits.json.
        answers: Answer file: LLaVA's lines (question_id, text), or an official result file, an
            object whose results are indices of choices by id.
        split: Which problems were answered.
        modality: all, image (only problems with an image) or text (only those without).
        rule: Rule that reads the choice from an answer.
        rules: More rules to show the score under, comma-separated; ``all`` for every one.
        missing: What to do about problems without an answer: refuse, or count them as wrong.
        unknown: What to do about answers to problems outside of the split: refuse, or ignore them,
            as the official scripts do.
        seed: Seed of the intervals.

    Raises:
        UnknownName: No rule has that name.
    """

    summary: ClassVar[str] = "Answers to ScienceQA (LLaVA's layout and official result files)."
    paper: ClassVar[str] = "Lu et al., Learn to Explain, NeurIPS 2022"
    url: ClassVar[str] = "https://github.com/lupantech/ScienceQA"

    problems: Path
    splits: Path
    answers: Path
    split: str = "test"
    modality: Literal["all", "image", "text"] = "all"
    rule: str = "llava"
    rules: str = ""
    missing: Literal["refuse", "wrong"] = "refuse"
    unknown: Literal["refuse", "ignore"] = "refuse"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the names of the rules.

        Raises:
            UnknownName: No rule has that name.
        """
        ScienceqaMetric(rule=self.rule)
        rules_named("rule", self.rules, CHOICE_RULES)

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`; ``categories`` holds topics, ``rules`` every rule, if asked for."""
        metric = ScienceqaMetric(rule=self.rule)
        whole = read_scienceqa(self.problems, self.splits, self.split)
        given, unknown = self._given({problem.id: problem.question for problem in whole})
        asked = [
            problem
            for problem in whole
            if self.modality == "all" or bool(problem.image) == (self.modality == "image")
        ]
        missing = [problem.id for problem in asked if problem.id not in given]
        if missing and self.missing == "refuse":
            raise DataError(
                f"{len(missing)} of {len(asked)} problems have no answer: {listed(missing)}. "
                "LLaVA's script counts them as wrong; to do so too: --missing wrong",
                path=self.answers,
            )
        rows = _rows(metric, asked, given)
        topics: dict[str, list[int]] = {}
        for place, problem in enumerate(asked):
            topics.setdefault(problem.topic, []).append(place)
        result: dict[str, Any] = {
            "metric": "scienceqa",
            "rule": self.rule,
            "note": CHOICE_RULES[self.rule].summary,
            **numbers(metric, rows),
            "missing": len(missing),
            "unknown": len(unknown),
            "intervals": bounds(metric, rows, [problem.id for problem in asked], self.seed),
            "categories": {
                topic: _short(metric, rows[places]) for topic, places in sorted(topics.items())
            },
        }
        if names := rules_named("rule", self.rules, CHOICE_RULES):
            metrics = {name: ScienceqaMetric(rule=name) for name in names}
            result["rules"] = {
                name: numbers(rule, _rows(rule, asked, given)) for name, rule in metrics.items()
            }
        return result

    def _given(self, known: dict[str, str]) -> tuple[dict[str, str], list[str]]:
        """Answers by id, to whichever problems of the split, and the ids outside of it."""
        if (results := _results(self.answers)) is not None:
            rows = [Row(self.answers, 1, {"question_id": p, "text": t}) for p, t in results.items()]
        else:
            rows = read_json_rows(self.answers)
        others = [row for row in rows if _id(row) not in known]
        unknown = list(map(_id, others))
        if unknown and self.unknown == "refuse":
            raise others[0].error(
                f"{len(unknown)} of {len(rows)} lines have an unknown question_id: "
                f"{listed(unknown)}; the split {self.split!r} has {len(known)} problems. LLaVA's "
                "script leaves such answers out; to do so too: --unknown ignore"
            )
        found = match_rows([row for row in rows if _id(row) in known], _id, known, "question_id")
        texts = answer_texts(list(found.values()), [known[pid] for pid in found])
        return dict(zip(found, texts, strict=True)), unknown


def _id(row: Row) -> str:
    """Problems are numbered, and their ids are strings."""
    return str(row.identifier("question_id"))


def _rows(
    metric: ScienceqaMetric, asked: Sequence[ScienceqaProblem], given: dict[str, str]
) -> Tensor:
    """Rows in the order of the problems; those without an answer are wrong."""
    targets = [scienceqa_target(problem) for problem in asked]
    rows = metric.failed_rows(targets)
    places = [place for place, problem in enumerate(asked) if problem.id in given]
    rows[places] = metric.rows(
        [given[asked[place].id] for place in places], [targets[place] for place in places]
    )
    return rows


def _short(metric: ScienceqaMetric, rows: Tensor) -> dict[str, Any]:
    found = numbers(metric, rows)
    return {name: found[name] for name in ("accuracy", "n")}


def _results(path: Path) -> dict[str, str] | None:
    """Choices by id as letters, from a file whose one object holds ``results``; else None."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError):
        return None  # not one JSON value: lines, which their reader checks
    if not isinstance(content, dict) or "results" not in content:
        return None
    results = content["results"]
    if not isinstance(results, dict):
        raise DataError(f"'results' must be an object, got {results!r}", path=path)
    for pid, index in results.items():
        if isinstance(index, bool) or not isinstance(index, int) or not -1 <= index < 5:
            raise DataError(
                f"the result of problem {pid} must be an index from -1 to 4, got {index!r}",
                path=path,
            )
    return {pid: "ABCDE"[index] if index >= 0 else "" for pid, index in results.items()}
