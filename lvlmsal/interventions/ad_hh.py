"""AD-HH: heads that lean on the text too much are kept from looking at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.interventions.listed_heads import NO_LISTS, ListedHeads
from lvlmsal.registry import INTERVENTIONS


@INTERVENTIONS.register("ad-hh")
@dataclass(frozen=True)
class AdHH(ListedHeads):
    """Adaptive deactivation of hallucination heads.

    With A (B, H, q, k) the weights after the softmax and T the keys behind the sample's last visual
    token (the question and what was generated), in the listed heads and in each row that predicts a
    generated token::

        m = sum of A over T
        A[j] <- 0   for j in T,   where m >= threshold

    Rows are not normalized again: they sum to 1 - m. A sample without an image has no T and is left
    alone. The gate is each row's and each head's own, and jumps: there is no small strength.

    The public code (TianyunYoung/Hallucination-Attribution) finds its heads by ablating each head
    in turn, on 3,000 captions, and comparing what that does to wrong and to right object words.
    This library does not compute that; the list is given. That the code edits the row of the
    decoding step alone is read here as every row that predicts, the prompt's last one among them.

    Args:
        threshold: tau, the mass on text from which a head is cut off; 0.4 in the code. None is the
            plain model.
        listed: heads as ``[layer, head]``, where no file holds them under this name.

    The control of the heads is ``random``.
    """

    threshold: float | None = 0.4
    listed: Sequence[Sequence[int]] = ()

    names: ClassVar[tuple[str, ...]] = ("listed",)
    by_position: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = True
    summary: ClassVar[str] = "cuts listed heads off the text where they look at it too much"
    paper: ClassVar[str] = "Understanding and Mitigating Hallucination via Attribution (ICLR 2025)"
    url: ClassVar[str] = "https://openreview.net/forum?id=Bjq4W7P2Us"
    strong: ClassVar[Mapping[str, Any]] = {**NO_LISTS, "listed": [], "threshold": 0.0}
    off: ClassVar[Mapping[str, Any]] = {"threshold": None}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(
                f"threshold must be from 0 to 1, or None (the plain model), got {self.threshold}"
            )

    @property
    def is_identity(self) -> bool:
        """Whether there is no threshold."""
        return self.threshold is None

    def first_row(self, context: AttentionContext) -> int:
        """The prompt's last row."""
        return context.first_predicting_row

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Zero the text's columns where a listed head's row has too much on them."""
        assert self.threshold is not None  # or it would be the identity
        text = context.cached(self, lambda: self._text(context))
        mass = (weights * text).sum(-1, keepdim=True)
        heads = self._chosen[0, context.layer].to(weights.device)[:, None, None]
        rows = context.predicting_rows()[:, None, :, None]
        seen = text.any(-1, keepdim=True)  # a threshold of 0 is reached without any text
        cut = heads & rows & seen & (mass >= self.threshold)
        return torch.where(cut & text, 0.0, weights)

    def _text(self, context: AttentionContext) -> Tensor:
        """Which keys stand behind the last visual token, boolean (B, 1, 1, k)."""
        columns = context.key_positions
        ends = [of.images[-1][1] if of.images else len(columns[0]) for of in context.spans]
        return (columns >= columns.new_tensor(ends)[:, None])[:, None, None]
