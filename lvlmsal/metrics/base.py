"""The base of all metrics: figures of counts that are summed over samples."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from lvlmsal.errors import ConfigError, UnsupportedError, close_matches
from lvlmsal.metrics.columns import Column


@dataclasses.dataclass(eq=False)
class CountMetric(ABC):
    """A metric whose figures are functions of counts, summed over samples.

    Each sample becomes one row of counts. Summing rows is all that batches, processes and resumed
    runs ever do, so the result depends neither on the order nor on how samples are distributed; and
    a bootstrap is one matrix product of resampling weights with the rows. For training loops,
    `lvlmsal.metrics.torch_metric.TorchMetric` makes a `torchmetrics.Metric` of it.

    A metric is a dataclass whose fields are its options, and it defines `rows` and `figures`:

    >>> import torch
    >>> @dataclasses.dataclass(eq=False)
    ... class Shouting(CountMetric):
    ...     summary = "share of answers in capitals"
    ...     count_names = ("n", "loud")
    ...     figure_info = {"shouting": False}
    ...     rates = {"shouting": ("loud", "n")}
    ...     minimum: int = 1
    ...
    ...     def rows(self, answers, targets):
    ...         loud = [[1.0, a.isupper() and len(a) >= self.minimum] for a in answers]
    ...         return torch.tensor(loud, dtype=torch.float64).reshape(-1, 2)
    ...
    ...     def figures(self, counts):
    ...         n, loud = counts.unbind(-1)
    ...         return {"shouting": loud / n}
    >>> Shouting(minimum=2).score(["YES", "A", "no"], [None] * 3)
    {'shouting': tensor(0.3333, dtype=torch.float64)}

    Attributes:
        summary: What is measured, in one line.
        paper: Title of the paper, or an empty string.
        url: Where the paper or its code is, or an empty string.
        count_names: Names of the columns of `rows`.
        figure_info: The figures in the order in which they are shown, and whether higher is better
            (None where neither direction is).
        columns: The figures that tables show, and how; where it is empty they show all of them.
        rates: The figures that are proportions of independent trials, as names of the counts above
            and below the bar: for these an interval can be computed from the counts alone.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    count_names: ClassVar[tuple[str, ...]] = ()
    figure_info: ClassVar[dict[str, bool | None]] = {}
    columns: ClassVar[tuple[Column, ...]] = ()
    rates: ClassVar[dict[str, tuple[str, str]]] = {}

    def __new__(cls, *args: object, **options: object) -> Self:
        """Refuse unknown options, with the most similar known one, before anything is built."""
        known = [field.name for field in dataclasses.fields(cls) if field.init]
        problems = [
            f"{cls.__name__} has no option '{option}'.{close_matches(option, known)} "
            f"Its options: {', '.join(known) or 'none'}"
            for option in options
            if option not in known
        ]
        if problems:
            raise ConfigError(problems)
        return super().__new__(cls)

    @abstractmethod
    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """What each sample adds to the counts.

        Args:
            answers: What the model said, one text for each sample.
            targets: What each answer is compared with.

        Returns:
            float64 tensor of shape (samples, counts).
        """

    def failed_rows(self, targets: Sequence[Any]) -> Tensor:
        """What samples add to the counts for which there is no answer, because answering failed.

        Zeros by default: where there is no text there is nothing to judge. A metric in which an
        answer is right or wrong overrides this and counts such samples as wrong.

        Args:
            targets: What each answer would have been compared with.

        Returns:
            float64 tensor of shape (samples, counts).
        """
        return torch.zeros(len(targets), len(self.count_names), dtype=torch.float64)

    @abstractmethod
    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """The figures for summed counts.

        Args:
            counts: Tensor of shape (..., counts): any number of sums at once.

        Returns:
            A tensor of shape (...) for each figure; nan where a ratio has no denominator, never an
            exception and never a number that stands for "undefined".
        """

    def sums(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """The counts of samples together: their `rows`, summed.

        Args:
            answers: What the model said, one text for each sample.
            targets: What each answer is compared with.

        Returns:
            float64 tensor of shape (counts,).

        Raises:
            TypeError: `answers` is one text instead of a sequence of texts.
            ValueError: The two differ in length, or a target is not of the metric's kind.
            UnsupportedError: `rows` returned something else than rows.
        """
        if isinstance(answers, str):
            raise TypeError(f"answers must be a sequence of texts, got one text: {answers!r}")
        if len(answers) != len(targets):
            raise ValueError(f"{len(answers)} answers for {len(targets)} targets")
        return checked_rows(self, answers, targets).sum(0)

    def score(self, answers: Sequence[str], targets: Sequence[Any]) -> dict[str, Tensor]:
        """The figures of samples; takes and refuses what `sums` does.

        Returns:
            float64 scalars by name. Of no samples every ratio is nan and every number is 0.
        """
        return self.figures(self.sums(answers, targets))


def checked_rows(metric: CountMetric, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
    """The `rows` of a metric.

    Raises:
        UnsupportedError: They have another shape than (samples, counts).
    """
    rows: object = metric.rows(answers, targets)
    expected = len(answers), len(metric.count_names)
    if isinstance(rows, Tensor) and rows.shape == expected:
        return rows
    shape = f"a tensor of shape {tuple(rows.shape)}" if isinstance(rows, Tensor) else None
    raise UnsupportedError(
        f"{type(metric).__name__}.rows returned {shape or type(rows).__name__} for {len(answers)} "
        f"answers, expected a tensor of shape {expected}: a row for each answer, with a number for "
        f"each of the counts {list(metric.count_names)}. Of no answers that is "
        f"torch.zeros(0, {expected[1]}), so end with .reshape(-1, {expected[1]})"
    )


class SetMetric(CountMetric):
    """A `CountMetric` whose rows depend on one another, such as pairs of questions on an image.

    `rows` gets all samples. What belongs to a unit of several samples (both questions on an image
    answered rightly) is counted in the row of the unit's first sample and is zero in the others, so
    that sums of rows stay right, and so do resamples, as long as all samples of a unit share the
    sample's group. Where a unit is not whole, the metric decides and says what it does.
    """
