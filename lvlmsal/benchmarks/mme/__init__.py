"""MME: pairs of yes-or-no questions in fourteen tasks."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.mme.benchmark import Mme
    from lvlmsal.benchmarks.mme.metric import MmeMetric
    from lvlmsal.benchmarks.mme.scorer import MmeScorer

__all__ = ["Mme", "MmeMetric", "MmeScorer"]

__getattr__, __dir__ = lazy_names(
    __name__, {"Mme": ".benchmark", "MmeMetric": ".metric", "MmeScorer": ".scorer"}
)
