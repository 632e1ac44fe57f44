"""Judges: models behind a chat endpoint that say what an answer is worth.

A metric says what to ask (`lvlmsal.metrics.judged`), a client asks, and a store keeps every reply,
so that nothing is paid for twice and a run is scored again without a network.
"""

from lvlmsal.judges.endpoint import Endpoint
from lvlmsal.judges.judging import Budget, Judging, judge
from lvlmsal.judges.store import ReplyStore

__all__ = ["Budget", "Endpoint", "Judging", "ReplyStore", "judge"]
