"""ScienceQA: multiple choice with and without images."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.scienceqa.benchmark import Scienceqa
    from lvlmsal.benchmarks.scienceqa.metric import ScienceqaMetric
    from lvlmsal.benchmarks.scienceqa.scorer import ScienceqaScorer

__all__ = ["Scienceqa", "ScienceqaMetric", "ScienceqaScorer"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {"Scienceqa": ".benchmark", "ScienceqaMetric": ".metric", "ScienceqaScorer": ".scorer"},
)
