"""Unsure at the end, and yet said by layers that have not looked: the rule that needs no label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lvlmsal.attention.layers import LayerSpec
from lvlmsal.detection.base import ReadingDetector
from lvlmsal.detection.columns import Columns, Need
from lvlmsal.registry import DETECTORS


@DETECTORS.register("early-lens")
@dataclass(frozen=True)
class EarlyLens(ReadingDetector):
    """z(-logit p) + z(mean over early layers of log lens_l), both over the model's own mentions.

    p is the final probability of the token c, and lens_l(c) what the decoder's last norm and its
    output projection make of the predicting row after layer l. The first term is large where the
    model is unsure of c, the second where the lower layers, which have hardly looked at the image
    yet, say c all the same: what is unsure now and was the habit from the start is probably wrong.

    z subtracts the mean and divides by the standard deviation of the term over the words that the
    model itself says in answers of which nobody knows what is right; ``lvlmsal fit`` finds both. It
    is a finding on small models of one recipe, see docs/detection.md before you trust it on yours.

    Args:
        layers: whose lens is averaged; the lower half of the decoder.
    """

    layers: LayerSpec = "0.0:0.5"

    summary: ClassVar[str] = "unsure at the end, yet said by layers that have not looked"
    paper: ClassVar[str] = "this library, docs/detection.md"
    url: ClassVar[str] = ""
    streams: ClassVar[bool] = True
    scaled: ClassVar[bool] = True
    reading: ClassVar[str] = "row_lens"

    @property
    def needs(self) -> tuple[Need, ...]:
        """The log-odds, and the lens of the early layers."""
        return Need("odds"), *super().needs

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of both terms."""
        return "minus logit p", "mean log lens"

    def features(self, columns: Columns) -> Tensor:
        """Both terms, not scaled."""
        lens = self.read(columns).mean(-1)
        return torch.stack([-columns["odds"].double(), lens], dim=-1)
