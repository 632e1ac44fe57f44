"""HGAI, heads-guided attention: what all heads see of the image is added to each head's scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.registry import INTERVENTIONS


@INTERVENTIONS.register("hgai")
@dataclass(frozen=True)
class HGAI(AttentionIntervention):
    """Raises each head's scores of the image by what the heads have in common, in middle layers.

    With e the scaled scores (B, H, q, k) before the softmax, on the keys j of visual tokens and the
    rows q that predict a generated token (the last one of the prompt, and every generated one)::

        e(h, q, j) <- e(h, q, j) + alpha mean over g = 1 .. H of |e(g, q, j)|

    The softmax follows, so rows sum to one. All heads get the same addend: that is the mean over
    query heads, in models with grouped ones too. Rows of the prompt before its last one, and a
    sample without an image, are left alone. PAI is the same edit with a head's own ``|e|``.

    This follows the public code (ZhangqiJiang07/middle_layers_indicating_hallucinations); the
    paper was not read. Where that is open or at odds with itself:

    - **Layers.** Its captions are made with ``--guide-range 5,18``, to whose end the script adds
      one: layers 5 to 18 of 32. The function that is called takes the end as excluded, and is
      quoted with 5 to 17, which is ``layers="5:18"``. Default: the former, as fractions of the
      depth, which for models of another depth is this library's choice.
    - **Heads.** The code can also average over the few heads with the most attention to the image
      (``topK``) instead of all of them. No command uses that, and it is not offered.
    - **Spans.** The code has one place of the image for the whole batch; here it is each sample's.

    Args:
        alpha: strength; 0 is the plain model, bit for bit.
        layers: where it acts; of 32 layers those from 5 to 18.

    >>> sorted(HGAI().bind(32)._bound or ())[::13], sorted(HGAI().bind(4)._bound or ())
    ([5, 18], [1])
    """

    alpha: float = 0.5
    layers: LayerSpec = "0.15625:0.59375"

    summary: ClassVar[str] = "raises scores of the image by their mean size over the heads"
    paper: ClassVar[str] = "Devils in Middle Layers of Large Vision-Language Models (CVPR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2411.16724"
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"alpha": 5.0, "layers": None}
    off: ClassVar[Mapping[str, Any]] = {"alpha": 0.0}

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be at least 0 (no edit), got {self.alpha}")
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether alpha is zero."""
        return self.alpha == 0

    def first_row(self, context: AttentionContext) -> int:
        """The last row of the prompt; none where no sample has an image."""
        if any(spans.images for spans in context.spans):
            return context.first_predicting_row
        return len(context.query_columns)

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        """Add alpha times the mean size over the heads to scores (B, H, q, k) of the image."""

        def make() -> Tensor:
            rows = context.predicting_rows()[:, :, None]
            return (rows & context.image_keys()[:, None])[:, None]

        shared = scores.abs().mean(1, keepdim=True)
        return torch.where(context.cached(self, make), scores + self.alpha * shared, scores)
