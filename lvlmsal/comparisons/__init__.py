"""Runs next to each other: one table, what differs between them, and paired differences."""

from lvlmsal.comparisons.comparing import Comparison, compare
from lvlmsal.comparisons.packing import pack_run
from lvlmsal.comparisons.reference import Match, compare_with_reference

__all__ = ["Comparison", "Match", "compare", "compare_with_reference", "pack_run"]
