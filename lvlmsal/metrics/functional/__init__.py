"""The metrics as plain functions."""

from lvlmsal.metrics.functional.amber_discriminative import (
    AMBER_PARSERS,
    amber_discriminative_counts,
    amber_discriminative_figures,
    amber_parser,
)
from lvlmsal.metrics.functional.amber_generative import (
    amber_generative_counts,
    amber_generative_figures,
)
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
from lvlmsal.metrics.functional.llava_bench import (
    llava_bench_counts,
    llava_bench_figures,
    llava_bench_scores,
)
from lvlmsal.metrics.functional.mm_vet import mm_vet_counts, mm_vet_figures, mm_vet_grade
from lvlmsal.metrics.functional.mme import MME_PARSERS, mme_counts, mme_figures, mme_parser
from lvlmsal.metrics.functional.pope import pope_counts, pope_figures, pope_score

__all__ = [
    "AMBER_PARSERS",
    "MME_PARSERS",
    "amber_discriminative_counts",
    "amber_discriminative_figures",
    "amber_generative_counts",
    "amber_generative_figures",
    "amber_parser",
    "chair_counts",
    "chair_figures",
    "chair_score",
    "ground_truth_objects",
    "hallusionbench_counts",
    "hallusionbench_figures",
    "llava_bench_counts",
    "llava_bench_figures",
    "llava_bench_scores",
    "mm_vet_counts",
    "mm_vet_figures",
    "mm_vet_grade",
    "mme_counts",
    "mme_figures",
    "mme_parser",
    "pope_counts",
    "pope_figures",
    "pope_score",
]
