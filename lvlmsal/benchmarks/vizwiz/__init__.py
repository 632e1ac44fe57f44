"""VizWiz: questions of blind people."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.vizwiz.benchmark import Vizwiz
    from lvlmsal.benchmarks.vizwiz.metric import VizwizMetric
    from lvlmsal.benchmarks.vizwiz.scorer import VizwizScorer

__all__ = ["Vizwiz", "VizwizMetric", "VizwizScorer"]

__getattr__, __dir__ = lazy_names(
    __name__, {"Vizwiz": ".benchmark", "VizwizMetric": ".metric", "VizwizScorer": ".scorer"}
)
