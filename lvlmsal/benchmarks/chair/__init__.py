"""CHAIR: objects that captions mention and images do not show."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.chair.benchmark import Chair
    from lvlmsal.benchmarks.chair.metric import ChairMetric
    from lvlmsal.benchmarks.chair.scorer import ChairScorer

__all__ = ["Chair", "ChairMetric", "ChairScorer"]

__getattr__, __dir__ = lazy_names(
    __name__, {"Chair": ".benchmark", "ChairMetric": ".metric", "ChairScorer": ".scorer"}
)
