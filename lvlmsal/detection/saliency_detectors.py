"""Detectors that read the saliency of the paper, at the price of a backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lvlmsal.attention.layers import LayerSpec
from lvlmsal.detection.base import ReadingDetector
from lvlmsal.detection.columns import Columns
from lvlmsal.registry import DETECTORS
from lvlmsal.saliency.options import DEFAULT_LAYERS


@DETECTORS.register("saliency")
@dataclass(frozen=True)
class Saliency(ReadingDetector):
    """1 - S(c) (Eq. 6) of the predicting row, as the decoder SGRS judges candidates.

    Args:
        layers: target layers.
    """

    layers: LayerSpec = DEFAULT_LAYERS

    summary: ClassVar[str] = "what the token draws from the text after the image"
    paper: ClassVar[str] = "Hallucination Begins Where Saliency Drops (ICLR 2026)"
    url: ClassVar[str] = "https://arxiv.org/abs/2601.20279"
    passes: ClassVar[str] = "1 backward"
    reading: ClassVar[str] = "saliency"

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        return 1 - self.read(columns).mean(-1)[..., None]


@DETECTORS.register("saliency-magnitude")
@dataclass(frozen=True)
class SaliencyMagnitude(ReadingDetector):
    """n / (1 + n) of the 2-norm n of the saliency row before S(c) divides by it.

    The gradient of -log p carries the factor 1 - p, so this is a relative of the probability: a
    reminder of what the norm takes out of S(c), not a method.

    Args:
        layers: whose norms are averaged.
    """

    layers: LayerSpec = (-1,)

    summary: ClassVar[str] = "magnitude of the saliency row, which follows 1 - p"
    paper: ClassVar[str] = "this library, docs/detection.md"
    url: ClassVar[str] = ""
    passes: ClassVar[str] = "1 backward"
    reading: ClassVar[str] = "saliency_norm"

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        norm = self.read(columns).mean(-1)[..., None]
        return norm / (1 + norm)
