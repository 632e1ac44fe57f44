"""HallusionBench: yes-or-no questions on images that deceive."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.hallusionbench.benchmark import HallusionBench
    from lvlmsal.benchmarks.hallusionbench.metric import HallusionBenchMetric
    from lvlmsal.benchmarks.hallusionbench.scorer import HallusionBenchScorer

__all__ = ["HallusionBench", "HallusionBenchMetric", "HallusionBenchScorer"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "HallusionBench": ".benchmark",
        "HallusionBenchMetric": ".metric",
        "HallusionBenchScorer": ".scorer",
    },
)
