"""VAF, visual amplification fusion: scores of the image are scaled up in the middle layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.registry import INTERVENTIONS, check_choices


@INTERVENTIONS.register("vaf")
@dataclass(frozen=True)
class VAF(AttentionIntervention):
    """Amplifies the image's attention scores where modalities fuse, and dampens the system prompt.

    With Z (B, H, q, k) the scaled scores before the mask and the softmax, V the visual tokens and
    S the system prompt, which is all text before the first image; the paper's equation::

        Z' = Z + alpha M_enh * Z - beta M_sup * Z
        M_enh[i, j] = 1 for a row i of text behind an image and j in V
        M_sup[i, j] = 1 for the same rows and j in S

    The softmax follows, so rows sum to one. All heads are edited alike, in the prompt and in
    generated tokens. A sample without an image is left alone.

    Where the paper, as others quote it, and the published code differ, or say nothing:

    - **Strengths.** The code's command has alpha = 0.15 and beta = 0.05 (``--enh-para 1.15
      --sup-para 0.95``); the paper is quoted with 0.15 and 0.1, which are the defaults here, and
      once with the two exchanged.
    - **Layers.** Both take layers 9 to 14, the code in models of 32 and of 40 layers alike. The
      default here is that part of 32 layers as fractions; ``llava-1.5-13b`` has ``"9:15"``.
    - **Spans.** The code takes 35 tokens of system prompt and 576 of the image wherever they are.
      Here they are read off each sample. Text between two images, which neither has, is a row
      that is edited and a key that is not.
    - **Short prompts.** The code takes any pass of up to 611 tokens for a decode step and edits
      all of its rows at those columns, with an image or without. Here a row is edited by what it
      is, whatever the pass.
    - **Signs.** Both multiply scores of either sign: a visual token whose score is below zero loses
      attention, and one of the system prompt gains. ``amplify="magnitudes"`` takes abs(Z) for Z in
      what is added, so that the first gain and the others lose; it is in neither of the two.
    - **Heads.** The method is also quoted with an edit of half of the heads. The code edits all of
      them, and so does this.

    Args:
        alpha: strength for the image; 0.15 multiplies its scores by 1.15.
        beta: strength against the system prompt, from 0 to 1; 0.1 multiplies its scores by 0.9.
            With alpha = 0 as well it is the plain model, bit for bit.
        amplify: ``"scores"`` scales them; ``"magnitudes"`` adds shares of their magnitudes.
        layers: where it acts; of 32 layers those from 9 to 14.
    """

    alpha: float = 0.15
    beta: float = 0.1
    amplify: Literal["scores", "magnitudes"] = "scores"
    layers: LayerSpec = "0.28:0.47"

    summary: ClassVar[str] = "scales scores of the image up in middle layers, of the system down"
    paper: ClassVar[str] = "ClearSight: Visual Signal Enhancement (CVPR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2503.13107"
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"alpha": 20.0, "beta": 1.0, "layers": None}
    off: ClassVar[Mapping[str, Any]] = {"alpha": 0.0, "beta": 0.0, "layers": None}
    model_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "llava-1.5-13b": {"layers": "9:15"}
    }

    def __post_init__(self) -> None:
        if not math.isfinite(self.alpha) or self.alpha < 0:
            raise ValueError(f"alpha must be at least 0 (no such edit), got {self.alpha}")
        if not 0 <= self.beta <= 1:
            raise ValueError(f"beta must be from 0 (no such edit) to 1, got {self.beta}")
        check_choices(self)
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether both strengths are zero."""
        return self.alpha == 0 and self.beta == 0

    def first_row(self, context: AttentionContext) -> int:
        """The first row behind an image in any sample."""
        ends = [spans.pad + spans.images[0][1] for spans in context.spans if spans.images]
        rows = len(context.query_columns)
        return max(0, min(ends) - context.first_query_column) if ends else rows

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        """Add a share of the scores (B, H, q, k) to them, of their magnitudes if so chosen."""
        change = context.cached(self, lambda: self._change(context))
        return scores + change * (scores if self.amplify == "scores" else scores.abs())

    def _change(self, context: AttentionContext) -> Tensor:
        """What scores are multiplied by, alpha M_enh - beta M_sup, float32 (B, 1, q, k)."""
        rows = context.query_positions
        # A sample without an image has neither keys that follow, so its rows do not matter.
        starts = rows.new_tensor([spans.system[1] for spans in context.spans])[:, None]
        text = (rows >= starts) & ~context.image_rows()
        key = self.alpha * context.image_keys().float() - self.beta * context.system_keys().float()
        return (text[:, :, None] * key[:, None])[:, None]
