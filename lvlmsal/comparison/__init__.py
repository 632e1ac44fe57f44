"""Runs beside each other: one table, what differs between them, and paired differences."""

from lvlmsal.comparison.comparing import Comparison, compare

__all__ = ["Comparison", "compare"]
