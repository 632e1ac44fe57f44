"""POPE: is there such an object in the image?"""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.pope.benchmark import Pope
    from lvlmsal.benchmarks.pope.metric import PopeMetric
    from lvlmsal.benchmarks.pope.scorer import PopeScorer

__all__ = ["Pope", "PopeMetric", "PopeScorer"]

__getattr__, __dir__ = lazy_names(
    __name__, {"Pope": ".benchmark", "PopeMetric": ".metric", "PopeScorer": ".scorer"}
)
