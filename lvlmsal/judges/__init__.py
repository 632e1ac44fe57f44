"""Judges: models behind a chat endpoint that say what an answer is worth.

A metric says what to ask (`lvlmsal.metrics.judged`), a client asks, and a store keeps every reply,
so that nothing is paid for twice and a run is scored again without a network.
"""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.judges.budget import Budget
    from lvlmsal.judges.endpoint import Endpoint
    from lvlmsal.judges.judging import Judging, judge
    from lvlmsal.judges.store import ReplyStore

__all__ = ["Budget", "Endpoint", "Judging", "ReplyStore", "judge"]

# The judge of a config is checked without the metrics that ask one.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Budget": ".budget",
        "Endpoint": ".endpoint",
        "Judging": ".judging",
        "ReplyStore": ".store",
        "judge": ".judging",
    },
)
