"""MME: the official folder of results, or LLaVA's answers with the folder of the questions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

from torch import Tensor

from lvlmsal.benchmarks.answers.texts import answer_texts, words_of
from lvlmsal.benchmarks.mme.benchmark import mme_target
from lvlmsal.benchmarks.mme.counts import MME_PARSERS, mme_parser
from lvlmsal.benchmarks.mme.files import (
    MME_TASKS,
    MmeQuestion,
    read_mme_questions,
    read_mme_results,
)
from lvlmsal.benchmarks.mme.metric import MmeMetric
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers, rules_named
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.readers.rows import Row, listed, read_json_rows
from lvlmsal.registry import SCORERS

_INSTRUCTIONS: Final = (
    "please answer yes or no.",
    "answer the question using a single word or phrase.",
)


@SCORERS.register("mme")
@dataclass(kw_only=True)
class MmeScorer(Scorer):
    """Answers to MME: give `results`, or `answers` and `root`.

    Args:
        results: Folder of results: a <task>.txt for each task, with lines of image, question, right
            answer and prediction, separated by tabs.
        answers: LLaVA's answer file (question_id, prompt, text).
        root: Folder of MME, whose questions the answer file answers.
        parser: Rule that reads yes or no from an answer: official, lmms-eval, vlmevalkit, strict.
        parsers: More rules to show the scores under, comma-separated; ``all`` for every one.
        seed: Seed of the intervals.

    Raises:
        UnknownName: No rule has that name.
    """

    summary: ClassVar[str] = "Answers to MME (the official folder of results, LLaVA's answers)."
    paper: ClassVar[str] = "Fu et al., MME: A Comprehensive Evaluation Benchmark for MLLMs, 2023"
    url: ClassVar[str] = "https://arxiv.org/abs/2306.13394"

    results: Path | None = None
    answers: Path | None = None
    root: Path | None = None
    parser: str = "official"
    parsers: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: There are neither results nor answers with a root, or both.
        """
        mme_parser(self.parser)
        rules_named("parser of MME", self.parsers, MME_PARSERS)
        with_answers = self.answers is not None and self.root is not None
        if (self.results is None) != with_answers or (
            self.results is not None and (self.answers, self.root) != (None, None)
        ):
            raise ConfigError(["give a folder of results (--results), or --answers and --root"])

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`; ``categories`` holds the figures of each task that is there."""
        metric = MmeMetric(parser=self.parser)
        given, warnings = self._given()
        missing = [task for task in MME_TASKS if task not in {q.task for q in given}]
        if missing:
            warnings.append(
                f"{len(missing)} of {len(MME_TASKS)} tasks are missing, so their totals are "
                f"undefined: {', '.join(missing)}"
            )
        said = [question.answer for question in given]
        targets = [mme_target(question) for question in given]
        rows = metric.rows(said, targets)
        result: dict[str, Any] = {
            "metric": "mme",
            "parser": self.parser,
            **numbers(metric, rows),
            "intervals": bounds(metric, rows, [question.unit for question in given], self.seed),
            "categories": _by_task(metric, rows, given),
            "warnings": warnings,
        }
        if names := rules_named("parser of MME", self.parsers, MME_PARSERS):
            shown = ("perception", "cognition", "task_mean", "accuracy", "unparsed", "n")
            result["parsers"] = {}
            for name in names:
                rule = MmeMetric(parser=name)
                figures = numbers(rule, rule.rows(said, targets))
                result["parsers"][name] = {figure: figures[figure] for figure in shown}
        return result

    def _given(self) -> tuple[list[MmeQuestion], list[str]]:
        """Answered questions, and what makes them doubtful."""
        if self.results is not None:
            given, others = read_mme_results(self.results)
            return given, [
                f"{len(others)} files are of no task and were left out: {listed(others)}"
            ] * bool(others)
        assert self.answers is not None  # checked on building
        assert self.root is not None
        return read_mme_answers(self.answers, self.root), []


def _by_task(
    metric: MmeMetric, rows: Tensor, given: Sequence[MmeQuestion]
) -> dict[str, dict[str, Any]]:
    """Score, acc and acc+ of each task that is there."""
    sums = dict(zip(metric.count_names, rows.sum(0).tolist(), strict=True))
    figures = metric.figures(rows.sum(0))
    tasks = {}
    for task in MME_TASKS:
        n = sums[f"n/{task}"]
        if not n:
            continue
        places = [place for place, question in enumerate(given) if question.task == task]
        unparsed = rows[places, metric.count_names.index("unparsed")].sum().item()
        tasks[task] = {
            "score": figures[f"score/{task}"].item(),
            "acc": sums[f"correct/{task}"] / n,
            "acc_plus": 2 * sums[f"both/{task}"] / n,
            "unparsed": int(unparsed),
            "n": int(n),
        }
    return tasks


def read_mme_answers(path: Path | str, root: Path | str) -> list[MmeQuestion]:
    """LLaVA's answers to MME, with the questions that they answer.

    Lines hold ``question_id`` (task and image, as in ``code_reasoning/0020.png``; both questions on
    an image share it), ``prompt`` and ``text``. Which of the two questions is meant is told by the
    prompt, from which instructions about the form of the answer are taken away. The ids that this
    library gives to samples, with ``#1`` or ``#2`` at the end, are taken as well; then there need
    be no prompt.

    Args:
        path: The answer file.
        root: The folder of MME.

    Returns:
        The questions of the tasks that were answered, each with its answer.

    Raises:
        DataError: An answer is missing, superfluous, given twice or belongs to no question.
    """
    asked = read_mme_questions(root)
    by_unit: dict[str, list[MmeQuestion]] = {}
    for question in asked:
        by_unit.setdefault(_unit(question.unit), []).append(question)
    found: dict[tuple[str, int], Row] = {}
    tasks = set()
    for row in read_json_rows(path):
        question = _asked(row, by_unit)
        key = (question.unit, question.number)
        if key in found:
            raise row.error(
                f"a second answer to question {question.number} on {question.unit!r}; the first "
                f"is in line {found[key].line}"
            )
        found[key] = row
        tasks.add(question.task)
    wanted = [question for question in asked if question.task in tasks]
    missing = [f"{q.unit}#{q.number}" for q in wanted if (q.unit, q.number) not in found]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(wanted)} questions of the tasks in this file have no "
            f"answer: {listed(missing)}",
            path=path,
        )
    texts = answer_texts(
        [found[q.unit, q.number] for q in wanted], [_words(q.text) for q in wanted]
    )
    return [replace(q, answer=text) for q, text in zip(wanted, texts, strict=True)]


def _asked(row: Row, by_unit: dict[str, list[MmeQuestion]]) -> MmeQuestion:
    """The question that a line answers."""
    given = row.text("question_id")
    name, mark, number = given.rpartition("#")
    numbered = bool(mark) and number in ("1", "2")
    pair = by_unit.get(_unit(name if numbered else given))
    if pair is None:
        raise row.error(
            f"there is no question {given!r}; expected a task and an image, such as "
            f"{next(iter(by_unit))!r}"
        )
    if numbered and "prompt" not in row.data:
        return pair[int(number) - 1]
    prompt = _words(row.text("prompt"))
    matches = [q for q in pair if _words(q.text) == prompt]
    if numbered:
        matches = [q for q in pair if q.number == int(number) and _words(q.text) in prompt]
    if len(matches) != 1:
        texts = " and ".join(repr(question.text) for question in pair)
        raise row.error(
            f"'prompt' is {row.data['prompt']!r}, but the questions on {given!r} are {texts}"
        )
    return matches[0]


def _unit(question_id: str) -> str:
    """Task and image without its suffix, since some tools name the text file instead."""
    return re.sub(r"\.(jpg|jpeg|png|txt)$", "", question_id.strip(), flags=re.IGNORECASE)


def _words(text: str) -> str:
    """A question without instructions, in lower case and with single blanks."""
    words = words_of(text)
    for instruction in _INSTRUCTIONS:
        words = words.replace(instruction, "")
    return words_of(words)
