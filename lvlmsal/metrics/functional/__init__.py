"""The metrics as plain functions."""

from lvlmsal.metrics.functional.chair import (
    chair_counts,
    chair_figures,
    chair_score,
    ground_truth_objects,
)
from lvlmsal.metrics.functional.pope import pope_counts, pope_figures, pope_score

__all__ = [
    "chair_counts",
    "chair_figures",
    "chair_score",
    "ground_truth_objects",
    "pope_counts",
    "pope_figures",
    "pope_score",
]
