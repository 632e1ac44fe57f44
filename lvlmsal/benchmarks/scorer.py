"""What every scorer is, and the form in which scores are given."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from lvlmsal.errors import UnknownName
from lvlmsal.metrics.base import CountMetric
from lvlmsal.statistics.bootstrap import figure_intervals


@dataclass(kw_only=True)
class Scorer(ABC):
    """Base class of all scorers: reads files of answers and gives every figure of a benchmark.

    Fields are the options, and the command line makes its options of them: ``lvlmsal score NAME
    --field VALUE``, with the help taken from the docstring's ``Args``. Answers are matched with
    questions by id, never by order, where the files have ids; a missing, unknown or repeated id is
    an error that names file and line.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""

    @abstractmethod
    def score(self) -> dict[str, Any]:
        """Read the files and score them.

        Returns:
            What JSON can hold: the figures by name (None where one is undefined), ``metric``,
            ``intervals`` with the 95 % bounds of the ratios, and whatever else a reader of the
            figures has to know (rule, variant, warnings).

        Raises:
            DataError: A file is missing or broken, or the files do not belong together.
        """


def numbers(metric: CountMetric, rows: Tensor) -> dict[str, float | int | None]:
    """Figures of rows as JSON has them: whole numbers for counts, None for nan."""
    whole = _whole_numbers(metric, rows)
    values = {name: value.item() for name, value in metric.figures(rows.sum(0)).items()}
    return {name: int(value) if name in whole else or_none(value) for name, value in values.items()}


def bounds(
    metric: CountMetric, rows: Tensor, groups: Sequence[Hashable], seed: int = 0
) -> dict[str, dict[str, float | None]]:
    """95 % bounds of every ratio, by name; whole groups (images) are resampled."""
    found = figure_intervals(metric, rows, groups, seed=seed)
    whole = _whole_numbers(metric, rows)
    return {
        name: {"low": or_none(interval.low), "high": or_none(interval.high)}
        for name, interval in found.items()
        if name not in whole
    }


def rules_named(kind: str, names: str, known: Iterable[str]) -> list[str]:
    """The rules that an option names: none, ``all``, or some, comma-separated.

    Args:
        kind: What the rules are, for the message.
        names: What was given.
        known: Every rule.

    Raises:
        UnknownName: One of them is not a rule; the message has the nearest one.

    Example:
        >>> rules_named("parser", "strict, opera", ["opera", "strict", "vcd"])
        ['strict', 'opera']
    """
    every = list(known)
    given = [name.strip() for name in names.split(",")] if names.strip() else []
    for name in given:
        if name not in (*every, "all"):
            raise UnknownName(kind, name, [*every, "all"])
    return every if "all" in given else list(dict.fromkeys(given))


def or_none(value: float) -> float | None:
    """None for nan, which JSON cannot hold."""
    return None if math.isnan(value) else value


def _whole_numbers(metric: CountMetric, rows: Tensor) -> set[str]:
    """The figures that count something: of no samples they are 0, and ratios are undefined."""
    of_none = metric.figures(rows[:0].sum(0))
    return {name for name, value in of_none.items() if not value.isnan()}
