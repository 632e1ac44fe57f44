"""What saliency adds to everything else that a report knows of a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from lvlmsal.analysis.mention_comparison import complete
from lvlmsal.analysis.mentions import MentionRow
from lvlmsal.analysis.mlp import cross_validated_scores
from lvlmsal.statistics.auroc import auroc_differences, auroc_intervals
from lvlmsal.statistics.intervals import Interval

SALIENCY: Final = ("saliency", "saliency_last")
RIVALS: Final = (
    *("log_probability", "entropy"),
    *("attention_image", "attention_previous", "position"),
)


@dataclass(frozen=True)
class Added:
    """AUROC of scores taken together, without and with saliency.

    Attributes:
        rivals: Of a logistic regression on every score but saliency.
        both: Of one on saliency too.
        gain: The second minus the first, on the same resamples of the images.
    """

    rivals: Interval
    both: Interval
    gain: Interval


def added_value(rows: Sequence[MentionRow], *, draws: int = 2000, seed: int = 0) -> Added:
    """Fit two logistic regressions on some images and judge them on the others, in turn.

    A score that merely repeats what others say gains nothing here, however well it does alone.

    Args:
        rows: Mentions of one model, method and benchmark.
        draws: Number of resamples of the images.
        seed: Of the folds and of the resamples.

    Raises:
        UnsupportedError: There are too few images with mentions of a kind to fit on.
    """
    whole = complete(rows)
    correct = [not row.hallucinated for row in whole]
    images = [row.image for row in whole]
    found = {}
    for name, chosen in (("rivals", RIVALS), ("both", (*RIVALS, *SALIENCY))):
        features = torch.tensor([[row.scores[score] for score in chosen] for row in whole])
        found[name] = cross_validated_scores(features, correct, images, hidden=0, seed=seed)
    aurocs = auroc_intervals(found, correct, images, draws=draws, seed=seed)
    gains = auroc_differences(found, "both", correct, images, draws=draws, seed=seed)
    return Added(aurocs["rivals"], aurocs["both"], gains["rivals"])
