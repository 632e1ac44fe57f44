"""Open questions on videos, rated by a judge model."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.video_qa.benchmark import ActivityNetQa, MsrvttQa, MsvdQa
    from lvlmsal.benchmarks.video_qa.metric import VideoQaMetric
    from lvlmsal.benchmarks.video_qa.scorer import VideoQaScorer

__all__ = ["ActivityNetQa", "MsrvttQa", "MsvdQa", "VideoQaMetric", "VideoQaScorer"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ActivityNetQa": ".benchmark",
        "MsvdQa": ".benchmark",
        "MsrvttQa": ".benchmark",
        "VideoQaMetric": ".metric",
        "VideoQaScorer": ".scorer",
    },
)
