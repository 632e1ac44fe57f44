"""MM-Vet, graded by a judge model."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.mm_vet.benchmark import MmVet
    from lvlmsal.benchmarks.mm_vet.metric import MmVetMetric
    from lvlmsal.benchmarks.mm_vet.scorer import MmVetScorer

__all__ = ["MmVet", "MmVetMetric", "MmVetScorer"]

__getattr__, __dir__ = lazy_names(
    __name__, {"MmVet": ".benchmark", "MmVetMetric": ".metric", "MmVetScorer": ".scorer"}
)
