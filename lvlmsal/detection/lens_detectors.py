"""Detectors that read inner layers: at the row of the word, and at the visual tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lvlmsal.attention.layers import LayerSpec
from lvlmsal.detection.base import ReadingDetector, Row
from lvlmsal.detection.columns import Columns
from lvlmsal.registry import DETECTORS


@DETECTORS.register("row-lens")
@dataclass(frozen=True)
class RowLens(ReadingDetector):
    """1 - exp(mean log lens_l) of the predicting row, over the upper half of the layers.

    A relative of DoLa's contrast: what layers near the end make of the token. Early layers often
    point the other way (`early-lens`).

    Args:
        layers: that are averaged.
    """

    layers: LayerSpec = "0.5:1.0"

    summary: ClassVar[str] = "what late layers make of the token"
    paper: ClassVar[str] = "DoLa (ICLR 2024), as a score of tokens"
    url: ClassVar[str] = "https://arxiv.org/abs/2309.03883"
    streams: ClassVar[bool] = True
    reading: ClassVar[str] = "row_lens"

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        return -self.read(columns).mean(-1).expm1()[..., None]


@DETECTORS.register("internal-confidence")
@dataclass(frozen=True)
class InternalConfidence(ReadingDetector):
    """1 - the largest probability of the word's first token at any visual token and layer.

    It reads the prompt alone, so that a word need not have been said. The public code leaves the
    last norm out, keeps the 50 largest logits only and is content with any piece of the word; here
    the norm is applied, the softmax is whole, and the first token stands for the word.

    Args:
        layers: that are looked at; all of them by default, at the price of the whole output
            projection for each visual token and layer.
    """

    layers: LayerSpec = None

    summary: ClassVar[str] = "whether any visual token would say the word"
    paper: ClassVar[str] = "Interpreting and Editing Vision-Language Representations (ICLR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2410.02762"
    row: ClassVar[Row] = "prefill"
    reading: ClassVar[str] = "patch_lens"

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        return -self.read(columns).amax(-1).expm1()[..., None]


@DETECTORS.register("contextual-lens")
@dataclass(frozen=True)
class ContextualLens(ReadingDetector):
    """(1 - cos) / 2 of the word's own state and the visual token that is most like it.

    The paper compares the mean state of an answer, in a layer that it chooses for each category;
    here it is the state of the word's first token, and the mean over some layers.

    Args:
        layers: behind which states are compared; from the middle on.
    """

    layers: LayerSpec = "0.5:0.75"

    summary: ClassVar[str] = "whether any visual token is like the word"
    paper: ClassVar[str] = "Beyond Logit Lens: Contextual Embeddings (NAACL 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2411.19187"
    row: ClassVar[Row] = "own"
    reading: ClassVar[str] = "image_similarity"

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        return (1 - self.read(columns).mean(-1)[..., None]) / 2
