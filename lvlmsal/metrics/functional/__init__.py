"""The metrics as plain functions."""

from lvlmsal.metrics.functional.chair import (
    chair_counts,
    chair_figures,
    chair_score,
    ground_truth_objects,
)
from lvlmsal.metrics.functional.hallusionbench import (
    hallusionbench_counts,
    hallusionbench_figures,
)
from lvlmsal.metrics.functional.mme import MME_PARSERS, mme_counts, mme_figures, mme_parser
from lvlmsal.metrics.functional.pope import pope_counts, pope_figures, pope_score

__all__ = [
    "MME_PARSERS",
    "chair_counts",
    "chair_figures",
    "chair_score",
    "ground_truth_objects",
    "hallusionbench_counts",
    "hallusionbench_figures",
    "mme_counts",
    "mme_figures",
    "mme_parser",
    "pope_counts",
    "pope_figures",
    "pope_score",
]
