"""AMBER: captions and yes-or-no questions about what is in an image."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.amber.benchmark import Amber
    from lvlmsal.benchmarks.amber.metric import AmberDiscriminativeMetric, AmberGenerativeMetric
    from lvlmsal.benchmarks.amber.scorer import AmberScorer

__all__ = ["Amber", "AmberDiscriminativeMetric", "AmberGenerativeMetric", "AmberScorer"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Amber": ".benchmark",
        "AmberGenerativeMetric": ".metric",
        "AmberDiscriminativeMetric": ".metric",
        "AmberScorer": ".scorer",
    },
)
