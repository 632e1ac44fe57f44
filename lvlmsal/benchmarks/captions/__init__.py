"""Captions compared with reference captions: CIDEr, BLEU-4 and ROUGE-L."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.benchmarks.captions.benchmark import Captions
    from lvlmsal.benchmarks.captions.metric import CaptionsMetric
    from lvlmsal.benchmarks.captions.scorer import CaptionsScorer

__all__ = ["Captions", "CaptionsMetric", "CaptionsScorer"]

__getattr__, __dir__ = lazy_names(
    __name__, {"Captions": ".benchmark", "CaptionsMetric": ".metric", "CaptionsScorer": ".scorer"}
)
