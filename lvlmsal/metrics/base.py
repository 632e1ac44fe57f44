"""The base of all metrics: figures of counts that are summed over samples."""

from __future__ import annotations

import dataclasses
import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torchmetrics import Metric

from lvlmsal.errors import ConfigError, close_matches
from lvlmsal.metrics.columns import Column


@dataclass(eq=False, repr=False)
class CountMetric(Metric):
    """A metric whose figures are functions of counts, summed over samples.

    Each sample becomes one row of counts. Summing rows is all that batches, processes and resumed
    runs ever do, so the result depends neither on the order nor on how samples are distributed; and
    a bootstrap is one matrix product of resampling weights with the rows.

    A metric is a dataclass whose fields are its options, and it defines `rows` and `figures`:

    >>> import torch
    >>> @dataclass(eq=False, repr=False)
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
    >>> metric = Shouting(minimum=2)
    >>> metric.update(["YES", "A", "no"], [None] * 3)
    >>> metric.compute()
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

    # torchmetrics: forward() needs no second update, nothing here has a gradient
    full_state_update = False
    is_differentiable = False

    counts: Tensor = dataclasses.field(init=False)

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

    def __post_init__(self) -> None:
        """Set up the state; a subclass with a `__post_init__` of its own calls this one first."""
        # A dataclass assigns its fields before this. torch.nn.Module allows that for values that
        # are neither tensors nor modules, which options never are.
        super().__init__()
        zeros = torch.zeros(len(self.count_names), dtype=torch.float64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

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

    def update(self, answers: Sequence[str], targets: Sequence[Any]) -> None:
        """Add samples.

        Args:
            answers: What the model said, one text for each sample.
            targets: What each answer is compared with.

        Raises:
            TypeError: `answers` is one text instead of a sequence of texts.
            ValueError: The two differ in length, or a target is not of the metric's kind.
        """
        if isinstance(answers, str):
            raise TypeError(f"answers must be a sequence of texts, got one text: {answers!r}")
        if len(answers) != len(targets):
            raise ValueError(f"{len(answers)} answers for {len(targets)} targets")
        self.counts += self.rows(answers, targets).sum(0).to(self.counts)

    def compute(self) -> dict[str, Tensor]:
        """The figures over everything that was added.

        Returns:
            float64 scalars by name. Of no samples every ratio is nan and every number is 0.
        """
        return self.figures(self.counts)


@dataclass(eq=False, repr=False)
class SetMetric(CountMetric):
    """A `CountMetric` whose rows depend on one another, such as pairs of questions on an image.

    `rows` gets all samples. What belongs to a unit of several samples (both questions on an image
    answered rightly) is counted in the row of the unit's first sample and is zero in the others, so
    that sums of rows stay right, and so do resamples, as long as all samples of a unit share the
    sample's group. Where a unit is not whole, the metric decides and says what it does.

    The state is not a sum but the samples themselves, as the bytes of JSON lines: batches and
    processes add theirs in any order, so `rows` must not depend on the order of the samples.
    Targets must be JSON values.
    """

    samples: Tensor | list[Tensor] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Set up the state; a subclass with a `__post_init__` of its own calls this one first."""
        super().__post_init__()
        self.add_state("samples", [], dist_reduce_fx="cat")

    def update(self, answers: Sequence[str], targets: Sequence[Any]) -> None:
        """Add samples, see `CountMetric.update`."""
        # counts what it is given, which checks it; units are put together in `compute`
        super().update(answers, targets)
        lines = "".join(
            json.dumps([answer, target]) + "\n"
            for answer, target in zip(answers, targets, strict=True)
        )
        state = self.samples
        assert isinstance(state, list)  # only a synchronized metric holds one tensor
        state.append(torch.tensor(bytearray(lines.encode()), dtype=torch.uint8))

    def compute(self) -> dict[str, Tensor]:
        """The figures over everything that was added, see `CountMetric.compute`."""
        state = self.samples
        parts = [state] if isinstance(state, Tensor) else state
        text = b"".join(bytes(part.cpu().tolist()) for part in parts).decode()
        # sorted: the order in which processes add their samples must not change the sums
        pairs = sorted(line for line in text.split("\n") if line)
        answers, targets = [], []
        for pair in pairs:
            answer, target = json.loads(pair)
            answers.append(answer)
            targets.append(target)
        if not pairs:
            return self.figures(self.counts)
        return self.figures(self.rows(answers, targets).sum(0).to(self.counts))
