"""Runs next to each other: one table, what differs between them, and paired differences."""

from lvlmsal.comparisons.comparing import Comparison, compare

__all__ = ["Comparison", "compare"]
