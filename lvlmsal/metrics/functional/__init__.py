"""The metrics as plain functions."""

from lvlmsal.metrics.functional.pope import pope_counts, pope_figures, pope_score

__all__ = ["pope_counts", "pope_figures", "pope_score"]
