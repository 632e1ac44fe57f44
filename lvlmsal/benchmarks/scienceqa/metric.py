"""ScienceQA as a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lvlmsal.benchmarks.scienceqa.choices import CHOICE_RULES
from lvlmsal.metrics.answer_parsers import rule_named
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.registry import METRICS

_SUBJECTS: Final = {
    "natural science": "natural",
    "social science": "social",
    "language science": "language",
}
_GROUPS: Final = (
    *_SUBJECTS.values(),
    "text",
    "image",
    "no_context",
    "grade_1_6",
    "grade_7_12",
)
"""The columns of the official table but for the average: NAT, SOC, LAN, TXT, IMG, NO, G1-6, G7-12;
a problem may be in several of the three in the middle, and is in one of the others."""


@METRICS.register("scienceqa")
@dataclass(eq=False)
class ScienceqaMetric(CountMetric):
    """Right choices, over all problems and by subject, context and grade.

    Targets are objects with ``answer`` (index of the right choice), ``choices`` (how many there
    are), ``subject``, ``grade`` (1 to 12), ``hint`` and ``image`` (whether there is one). An answer
    in which the rule finds no choice, and a sample without an answer, counts as wrong.

    The figures are fractions; the official table has them times 100 with two decimals. ``text``
    are the problems with a hint, ``image`` those with an image, ``no_context`` those with neither.

    Args:
        rule: Name of the rule that reads the answers, see `lvlmsal.benchmarks.scienceqa.choices`.

    Raises:
        UnknownName: No rule has that name.

    Example:
        >>> easy = {"answer": 0, "choices": 3, "subject": "natural science", "grade": 2}
        >>> metric = ScienceqaMetric()
        >>> targets = [{**easy, "hint": False, "image": image} for image in (True, False)]
        >>> figures = metric.score(["A", "A."], targets)  # LLaVA's rule allows no full stop
        >>> {name: figures[name].item() for name in ("accuracy", "image", "unparsed")}
        {'accuracy': 0.5, 'image': 1.0, 'unparsed': 1.0}
    """

    summary: ClassVar[str] = "multiple choice in science: accuracy by subject, context and grade"
    paper: ClassVar[str] = "Learn to Explain: Multimodal Reasoning via Thought Chains for SQA"
    url: ClassVar[str] = "https://github.com/lupantech/ScienceQA"
    count_names: ClassVar[tuple[str, ...]] = (
        "n",
        "correct",
        "unparsed",
        *(f"n_{group}" for group in _GROUPS),
        *(f"correct_{group}" for group in _GROUPS),
    )
    figure_info: ClassVar[dict[str, bool | None]] = {
        "accuracy": True,
        **dict.fromkeys(_GROUPS, True),
        "unparsed": False,
        "n": None,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("accuracy", "accuracy"),
        Column("natural", "NAT"),
        Column("social", "SOC"),
        Column("language", "LAN"),
        Column("text", "TXT"),
        Column("image", "IMG"),
        Column("no_context", "NO"),
        Column("grade_1_6", "G1-6"),
        Column("grade_7_12", "G7-12"),
        Column("unparsed", "unparsed", percent=False, bare=True),
    )
    rates: ClassVar[dict[str, tuple[str, str]]] = {
        "accuracy": ("correct", "n"),
        **{group: (f"correct_{group}", f"n_{group}") for group in _GROUPS},
    }

    rule: str = "llava"

    def __post_init__(self) -> None:
        rule_named("rule", self.rule, CHOICE_RULES)

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """One row of zeros and ones for each problem."""
        rule = CHOICE_RULES[self.rule]
        chosen = [
            rule.parse(answer, _checked(target)["choices"])
            for answer, target in zip(answers, targets, strict=True)
        ]
        unparsed = [choice is None for choice in chosen]
        return self._rows(chosen, unparsed, targets)

    def failed_rows(self, targets: Sequence[Any]) -> Tensor:
        """A problem without an answer is wrong; there is nothing that could be unparsed."""
        for target in targets:
            _checked(target)
        return self._rows([None] * len(targets), [False] * len(targets), targets)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See the class; nan where there is no problem of a kind."""
        n, correct, unparsed, *columns = counts.unbind(-1)
        sizes, rights = columns[: len(_GROUPS)], columns[len(_GROUPS) :]
        return {
            "accuracy": correct / n,
            **{
                name: right / size for name, size, right in zip(_GROUPS, sizes, rights, strict=True)
            },
            "unparsed": unparsed,
            "n": n,
        }

    def _rows(
        self, chosen: Sequence[int | None], unparsed: Sequence[bool], targets: Sequence[Any]
    ) -> Tensor:
        rows = []
        for choice, silent, target in zip(chosen, unparsed, targets, strict=True):
            right = choice == target["answer"]
            groups = _groups(target)
            inside = [group in groups for group in _GROUPS]
            rows.append([True, right, silent, *inside, *(right and there for there in inside)])
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(self.count_names))


def _groups(target: Mapping[str, Any]) -> set[str]:
    """Names of the columns that a problem belongs to."""
    context = {name for name, key in (("text", "hint"), ("image", "image")) if target[key]}
    grade = "grade_1_6" if target["grade"] <= 6 else "grade_7_12"
    return {_SUBJECTS[target["subject"]], *(context or {"no_context"}), grade}


def _checked(target: Any) -> Mapping[str, Any]:
    keys = ("answer", "choices", "subject", "grade", "hint", "image")
    if not isinstance(target, Mapping) or any(key not in target for key in keys):
        raise ValueError(f"a target must be an object with {', '.join(keys)}; got {target!r}")
    if target["subject"] not in _SUBJECTS:
        raise ValueError(f"a subject must be one of {list(_SUBJECTS)}, got {target['subject']!r}")
    if target["grade"] not in range(1, 13):
        raise ValueError(f"a grade must be a whole number from 1 to 12, got {target['grade']!r}")
    if not 0 <= target["answer"] < target["choices"]:
        raise ValueError(f"no choice of {target['choices']} has the index {target['answer']}")
    return target
