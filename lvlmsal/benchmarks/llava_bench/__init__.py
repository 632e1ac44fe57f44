"""LLaVA-Bench (in the wild), rated by a judge model."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.llava_bench.benchmark import LlavaBench
    from lvlmsal.benchmarks.llava_bench.metric import LlavaBenchMetric
    from lvlmsal.benchmarks.llava_bench.scorer import LlavaBenchScorer

__all__ = ["LlavaBench", "LlavaBenchMetric", "LlavaBenchScorer"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {"LlavaBench": ".benchmark", "LlavaBenchMetric": ".metric", "LlavaBenchScorer": ".scorer"},
)
