"""From a config to records, and from records to figures."""

from lvlmsal.evaluation.result import Result, score
from lvlmsal.evaluation.run import evaluate

__all__ = ["Result", "evaluate", "score"]
