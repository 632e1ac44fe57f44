"""Video-ChatGPT's benchmark, rated by a judge model."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.video_chatgpt.benchmark import VideoChatGpt
    from lvlmsal.benchmarks.video_chatgpt.metric import VideoChatGptMetric
    from lvlmsal.benchmarks.video_chatgpt.scorer import VideoChatGptScorer

__all__ = ["VideoChatGpt", "VideoChatGptMetric", "VideoChatGptScorer"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "VideoChatGpt": ".benchmark",
        "VideoChatGptMetric": ".metric",
        "VideoChatGptScorer": ".scorer",
    },
)
