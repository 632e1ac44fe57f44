"""Less sure than the habit would have it: a rule that needs no label and knows how far it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lvlmsal.detection.early_lens import EarlyLens
from lvlmsal.registry import DETECTORS


@DETECTORS.register("habit-lens")
@dataclass(frozen=True)
class HabitLens(EarlyLens):
    """-logit p + m mean log lens, as far as early layers know the model's words: m says how far.

    Both terms are those of `early-lens`, in nats: the final log-odds of the token c, and the mean
    over early layers of log lens_l(c). A word is suspicious where the model is unsure of it, the
    more so where layers that have hardly looked at the image say it all the same. How much that
    counts is read off the model's own words, of which nobody knows which are right: m is the mean
    over them of exp(mean log lens), the probability that early layers give to what the model says
    on ordinary images. Where they know little of its words (m near 0) the rule is the
    log-probability.

    ``lvlmsal fit`` finds m; see docs/detection.md for what was measured.

    Args:
        layers: whose lens is averaged; the lower half of the decoder.
    """

    summary: ClassVar[str] = "unsure, yet said by early layers, as far as these know the words"

    def weights(self, features: Tensor) -> Tensor:
        """1 and m, of features in standard deviations."""
        known = features[:, 1].exp().mean()
        return torch.stack([known.new_ones(()), known]) * features.std(0)
