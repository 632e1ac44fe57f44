"""What the checks of metrics are run on: a metric, samples, and a reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.torch_metric import TorchMetric

Sample = tuple[str, Any]
"""An answer and its target."""
Reference = Callable[[Sequence[str], Sequence[Any]], Mapping[str, float]]
"""An independent way to the figures, slow and plain; nan where a figure is undefined."""


@dataclass(frozen=True)
class MetricCase:
    """A metric with samples.

    Attributes:
        factory: Builds the metric.
        samples: Answers with their targets.
        reference: Another way to the figures.
        processes: Among how many processes samples are distributed.
        tolerance: Largest difference from the reference.
    """

    factory: Callable[[], CountMetric]
    samples: tuple[Sample, ...]
    reference: Reference
    processes: int
    tolerance: float

    @property
    def name(self) -> str:
        """What messages call the metric."""
        return getattr(self.factory, "__name__", type(self.factory).__name__)

    def filled(self, samples: Sequence[Sample]) -> TorchMetric:
        """The metric with samples counted."""
        metric = TorchMetric(self.factory())
        metric.update(*columns(samples))
        return metric

    def figures(self, samples: Sequence[Sample]) -> dict[str, float]:
        """The figures of samples."""
        return values(self.filled(samples).compute())


def columns(samples: Sequence[Sample]) -> tuple[list[str], list[Any]]:
    """Answers and targets."""
    return [answer for answer, _ in samples], [target for _, target in samples]


def values(figures: Mapping[str, Tensor]) -> dict[str, float]:
    """Figures as numbers."""
    return {name: float(value) for name, value in figures.items()}


def same(a: Mapping[str, float], b: Mapping[str, float], tolerance: float = 0.0) -> bool:
    """Equal figures; counts are whole numbers in float64, so their sums leave no rounding."""
    return a.keys() == b.keys() and all(close(a[name], b[name], tolerance) for name in a)


def close(a: float, b: float, tolerance: float) -> bool:
    """Equal numbers, or both undefined."""
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance


def require(holds: bool, message: str) -> None:
    """Fail a check with a message.

    Raises:
        AssertionError: It does not hold.
    """
    if not holds:
        raise AssertionError(message)
