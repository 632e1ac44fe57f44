"""VizWiz VQA: agreement with ten people, and whether an image was seen to show no answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lvlmsal.benchmarks.vizwiz.text import VIZWIZ_CONTRACTIONS, evalai_answer, one_line, vqa_answer
from lvlmsal.metrics.answer_parsers import rule_named
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.registry import METRICS

TYPES: Final = ("yes/no", "number", "other", "unanswerable")
"""The kinds of answers that VizWiz distinguishes."""
_FIGURES: Final = tuple(f"accuracy_{kind.replace('/', '_')}" for kind in TYPES)
_COUNTED: Final = 3
"""So many people who agree make an answer right."""


@dataclass(frozen=True)
class VqaRule:
    """A way to compare an answer with what ten people said.

    Attributes:
        name: What configurations and results call it.
        summary: The rule in one line.
        url: The code that it restates.
        normalize: What becomes of an answer of the model.
        matches: From a model's answer and a target to one list for each person: whether the
            answer of each of the others matches.
    """

    name: str
    summary: str
    url: str
    normalize: Callable[[str], str]
    matches: Callable[[str, Mapping[str, Any]], list[list[bool]]]

    def credit(self, answer: str, target: Mapping[str, Any]) -> float:
        """Thirtieths of a right answer.

        Each of ten people in turn is left out; a third is earned for each of the other nine who
        gave the answer, at most the whole; and the ten results are averaged. So 0, 1, 2, 3 and 4
        agreeing people are worth 0, 0.3, 0.6, 0.9 and 1.

        Args:
            answer: What the model said.
            target: As `VizwizMetric` takes it, with at least one answer.

        Returns:
            0 to 30; a whole number if ten people answered.
        """
        others = self.matches(answer, target)
        return 10 * sum(min(_COUNTED, sum(found)) for found in others) / len(others)

    def is_unanswerable(self, answer: str) -> bool:
        """Whether the model says that the image does not show the answer."""
        return self.normalize(answer) == "unanswerable"


def _by_place(said: str, people: Sequence[str]) -> list[list[bool]]:
    """Everybody but the one at each place."""
    same = [text == said for text in people]
    return [same[:place] + same[place + 1 :] for place in range(len(same))]


def _vizwiz_answer(text: str) -> str:
    return vqa_answer(text, VIZWIZ_CONTRACTIONS)


def _vizwiz_api(answer: str, target: Mapping[str, Any]) -> list[list[bool]]:
    """Only the model's answer is normalized; those of people are compared as they were typed."""
    return _by_place(_vizwiz_answer(answer), target["answers"])


def _llava(answer: str, target: Mapping[str, Any]) -> list[list[bool]]:
    """The EvalAI processor first, as LLaVA does it before submission."""
    return _vizwiz_api(evalai_answer(answer), target)


def _lmms_eval(answer: str, target: Mapping[str, Any]) -> list[list[bool]]:
    """Both sides go through the EvalAI processor."""
    return _by_place(evalai_answer(answer), [evalai_answer(text) for text in target["answers"]])


def _vqa_official(answer: str, target: Mapping[str, Any]) -> list[list[bool]]:
    """Both sides are normalized, unless people agree; the others are those who said otherwise.

    "Others" are entries that differ from the entry in question. VizWiz gives its answers no id, so
    all who gave the same answer with the same confidence vanish together.
    """
    people = [one_line(text) for text in target["answers"]]
    said = one_line(answer)
    if len(set(people)) > 1:
        people = [vqa_answer(text) for text in people]
        said = vqa_answer(said)
    sure = target.get("confidences") or [""] * len(people)
    entries = list(zip(people, sure, strict=True))
    return [
        [text == said for text, confidence in entries if (text, confidence) != entry]
        for entry in entries
    ]


_ALL = (
    VqaRule(
        "vizwiz-api",
        "the answer is normalized, those of people are not",
        "https://vizwiz.org/tasks-and-datasets/vqa/",
        _vizwiz_answer,
        _vizwiz_api,
    ),
    VqaRule(
        "llava",
        "as vizwiz-api, after the EvalAI processor, as LLaVA makes its submissions",
        "https://github.com/haotian-liu/LLaVA",
        lambda text: _vizwiz_answer(evalai_answer(text)),
        _llava,
    ),
    VqaRule(
        "vqa-official",
        "both sides are normalized unless all people agree; people who gave the same answer with "
        "the same confidence are left out together",
        "https://github.com/GT-Vision-Lab/VQA",
        vqa_answer,
        _vqa_official,
    ),
    VqaRule(
        "lmms-eval",
        "both sides go through the EvalAI processor",
        "https://github.com/EvolvingLMMs-Lab/lmms-eval",
        evalai_answer,
        _lmms_eval,
    ),
)

VQA_RULES: Final[dict[str, VqaRule]] = {rule.name: rule for rule in _ALL}
"""Every rule by name."""


@METRICS.register("vizwiz")
@dataclass(eq=False)
class VizwizMetric(CountMetric):
    """Agreement of short answers with those of ten people, over all and by the kind of answer.

    Targets are objects with ``answers`` (texts), ``confidences`` (one for each, or none),
    ``answer_type`` (one of `TYPES`) and ``answerable``. Without answers, as in the test split, a
    sample counts as unscored. A sample without an answer of the model counts as wrong.

    The figures are fractions; the official scorer prints them times 100 with two decimals.
    ``unanswerable_f1`` and ``unanswerable_ap`` are about finding the questions that the image does
    not answer: a model says so with the answer "unanswerable". The average precision is that of
    this yes or no, as the official scorer computes it where there are no confidences.

    Args:
        rule: Name of the rule that compares answers, see `VQA_RULES`.

    Raises:
        UnknownName: No rule has that name.

    Example:
        >>> people = ["blue"] * 3 + ["navy"] * 7
        >>> target = {"answers": people, "answer_type": "other", "answerable": True}
        >>> metric = VizwizMetric()
        >>> metric.score(["Blue.", "a navy"], [target, target])["accuracy"].item()  # 0.9 and 1
        0.95
    """

    summary: ClassVar[str] = "short answers against those of ten people: accuracy, unanswerable F1"
    paper: ClassVar[str] = "VizWiz Grand Challenge: Answering Visual Questions from Blind People"
    url: ClassVar[str] = "https://vizwiz.org/tasks-and-datasets/vqa/"
    count_names: ClassVar[tuple[str, ...]] = (
        "n",
        "thirtieths",
        *(f"{part}_{kind}" for kind in TYPES for part in ("n", "thirtieths")),
        "found_unanswerable",
        "said_unanswerable",
        "are_unanswerable",
        "unscored",
    )
    figure_info: ClassVar[dict[str, bool | None]] = {
        "accuracy": True,
        **dict.fromkeys(_FIGURES, True),
        "unanswerable_f1": True,
        "unanswerable_ap": True,
        "n": None,
        "unscored": None,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("accuracy", "accuracy"),
        Column("accuracy_yes_no", "yes/no"),
        Column("accuracy_number", "number"),
        Column("accuracy_other", "other"),
        Column("accuracy_unanswerable", "unanswerable"),
        Column("unanswerable_f1", "unanswerable F1"),
    )

    rule: str = "vizwiz-api"

    def __post_init__(self) -> None:
        rule_named("rule", self.rule, VQA_RULES)

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """Credit in thirtieths, so that sums of ten people's credits are whole numbers."""
        return self._rows(answers, targets)

    def failed_rows(self, targets: Sequence[Any]) -> Tensor:
        """A sample without an answer earns nothing and finds nothing."""
        return self._rows([None] * len(targets), targets)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See the class; nan where there is no sample of a kind."""
        n, credit, *columns = counts.unbind(-1)
        kinds = zip(_FIGURES, columns[0:8:2], columns[1:8:2], strict=True)
        found, said, truly, unscored = columns[8:]
        # the area under a curve of two points: what was called unanswerable, then all the rest
        recall = found / truly
        precision = torch.where(said > 0, found / said, torch.zeros_like(found))
        return {
            "accuracy": credit / (30 * n),
            **{name: part / (30 * number) for name, number, part in kinds},
            "unanswerable_f1": 2 * found / (said + truly),
            "unanswerable_ap": recall * precision + (1 - recall) * truly / n,
            "n": n,
            "unscored": unscored,
        }

    def _rows(self, answers: Sequence[str | None], targets: Sequence[Any]) -> Tensor:
        rule = VQA_RULES[self.rule]
        rows = torch.zeros(len(answers), len(self.count_names), dtype=torch.float64)
        place = {name: index for index, name in enumerate(self.count_names)}
        for row, answer, target in zip(rows, answers, targets, strict=True):
            _check(target)
            if not target["answers"]:
                row[place["unscored"]] = 1
                continue
            kind = target["answer_type"]
            truly = not target["answerable"]
            said = answer is not None and rule.is_unanswerable(answer)
            credit = 0.0 if answer is None else rule.credit(answer, target)
            row[place["n"]] = row[place[f"n_{kind}"]] = 1
            row[place["thirtieths"]] = row[place[f"thirtieths_{kind}"]] = credit
            row[place["found_unanswerable"]] = said and truly
            row[place["said_unanswerable"]] = said
            row[place["are_unanswerable"]] = truly
        return rows


def _check(target: Any) -> None:
    if not isinstance(target, Mapping) or not isinstance(target.get("answers"), list):
        raise ValueError(f"a target must be an object with a list of 'answers', got {target!r}")
    if not target["answers"]:
        return
    if target.get("answer_type") not in TYPES or "answerable" not in target:
        raise ValueError(
            f"a target must have an 'answer_type' ({', '.join(TYPES)}) and 'answerable', got "
            f"{target!r}"
        )
    sure = target.get("confidences")
    if sure and len(sure) != len(target["answers"]):
        raise ValueError(f"{len(sure)} confidences for {len(target['answers'])} answers")
