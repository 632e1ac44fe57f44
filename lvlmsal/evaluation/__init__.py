"""From a config to records, from records to figures, and from figures to tables and reports."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.evaluation.report.result import Result, read_result
    from lvlmsal.evaluation.report.run_scoring import score
    from lvlmsal.evaluation.run.evaluate import evaluate

__all__ = ["Result", "evaluate", "read_result", "score"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Result": ".report.result",
        "evaluate": ".run.evaluate",
        "read_result": ".report.result",
        "score": ".report.run_scoring",
    },
)
