"""LocoRE: local coherence reinforcement, the paper's attention intervention."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lvlmsal.adapters.spans import ContextName, TokenSpans
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.kernel import PlainAttention, scaled_scores
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.registry import INTERVENTIONS, check_choices

_TILE = 64


@INTERVENTIONS.register("locore")
@dataclass(frozen=True)
class LocoRE(AttentionIntervention):
    """Strengthens the attention to the most recent context tokens (Eq. 8-10, Algorithm 2).

    For the query at position q and keys j < q in the context J::

        gain(q, j) = 1 + beta   if q - j <= window,   else 1

    The query's own position is not boosted. It depends on positions alone, so it is the same in a
    prefill, a decode step, a block of drafted tokens and teacher forcing.

    Eq. 8-10 are written for any query, Algorithm 2 edits the row of the decoding step only: with
    ``rows="all"`` the rows of the question are edited in the prefill as well, which changes the
    keys and values that every later layer keeps of them; with ``rows="predicting"`` they are those
    of the plain model. The row that predicts the first generated token is edited either way.

    The paper's public code holds no LocoRE; this follows the equations. Section 4.5 gives a beta of
    1.2, where Table 3 shows that beta = 1.0 wrecks the model: that is taken for a misprint. The
    window is given nowhere: the default here is this library's own.

    Args:
        beta: strength; 0 is the plain model, bit for bit. 0.15 for LLaVA-1.5 and 0.20 for Qwen2-VL
            in the paper (the catalog's cards carry them). ``beta = r - 1`` is the decay
            experiment of Table 6 (gains r of 1.0 to 0.2).
        window: w_s, how many positions back the gain reaches.
        mode: ``"weights"`` multiplies the softmaxed weights and does not renormalize (Eq. 9-10);
            ``"renormalized"`` does, which equals adding log(1 + beta) to the scores; ``"scores"``
            multiplies the scores before the softmax (the sentence under Eq. 10 read literally).
        context: J: ``"after_image"``, everything after the last visual token (the formula), or
            ``"output"``, generated tokens only.
        layers: see :data:`~lvlmsal.attention.layers.LayerSpec`; all by default.
        heads: indices of the heads that are edited; all by default.
        rows: ``"all"`` edits every row that has a key of J in reach, those of the question
            included; ``"predicting"`` the prompt's last row and those of generated tokens only,
            as Algorithm 2 does.

    >>> LocoRE(beta=0.15, window=5).mode
    'weights'
    """

    beta: float = 0.15
    window: int = 10
    mode: Literal["weights", "renormalized", "scores"] = "weights"
    context: ContextName = "after_image"
    layers: LayerSpec = None
    heads: Sequence[int] | None = None
    rows: Literal["all", "predicting"] = "all"

    by_position: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"beta": 1.0}
    off: ClassVar[Mapping[str, Any]] = {"beta": 0.0}
    summary: ClassVar[str] = "multiplies the attention to the most recent context by 1 + beta"
    paper: ClassVar[str] = "Hallucination Begins Where Saliency Drops (ICLR 2026)"
    url: ClassVar[str] = "https://arxiv.org/abs/2601.20279"

    def __post_init__(self) -> None:
        if not math.isfinite(self.beta) or self.beta < -1:
            raise ValueError(f"beta must be at least -1, got {self.beta}")
        if self.beta == -1 and self.mode == "renormalized":
            raise ValueError("beta=-1 with mode='renormalized' adds log(0) to the scores")
        if self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}")
        check_choices(self)
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether beta is zero."""
        return self.beta == 0

    def first_row(self, context: AttentionContext) -> int:
        """Rows before the context begins have no key to boost."""
        first = context.first_context_row(self.context)
        return first if self.rows == "all" else max(first, context.first_predicting_row)

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        """Add log(1 + beta) or multiply by it, in the modes that act before the softmax."""
        if self.mode == "weights":
            return scores
        gain = self._gain(scores, context)
        return scores + gain.log() if self.mode == "renormalized" else scores * gain

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Multiply the boosted keys' weights; rows no longer sum to one (as in the paper)."""
        return weights * self._gain(weights, context) if self.mode == "weights" else weights

    @property
    def has_closed_form(self) -> bool:
        """Where the plain weights of the window suffice, and taking them off loses no digits."""
        return self.mode != "scores" and self.beta >= -0.9

    def closed_form(self, plain: PlainAttention, context: AttentionContext) -> Tensor:
        """Add what the gain adds: beta times the window's share of the plain output.

        The window's weights come from the log-sum-exp, for a tile of rows at a time: memory grows
        with rows times window, not with rows times keys.
        """
        output = plain.output.clone()
        start = context.first_query_column
        for first in range(0, output.shape[2], _TILE):
            rows = slice(first, min(first + _TILE, output.shape[2]))
            keys = slice(max(0, start + rows.start - self.window), start + rows.stop)
            scores = scaled_scores(plain.query[:, :, rows], plain.key[:, :, keys], plain.scale)
            weights = torch.exp(scores - plain.log_sum_exp[:, :, rows, None])
            gain = self._gain(weights, context.tile(rows, keys))
            boosted = gain != 1
            if plain.visible is not None:  # a sliding window may be narrower than this one
                boosted = boosted & plain.visible[:, :, rows, keys]
            added = torch.where(boosted, weights * (gain - 1), 0.0)
            edited = output[:, :, rows].to(added) + added @ plain.value[:, :, keys].to(added)
            if self.mode == "renormalized":
                edited = edited / (1 + added.sum(-1, keepdim=True))
            output[:, :, rows] = edited.to(output.dtype)
        return output

    def key_gains(
        self, column: int, spans: Sequence[TokenSpans]
    ) -> tuple[slice, float | Tensor] | None:
        """The gain of the window of a single row, in the mode that multiplies weights."""
        if self.mode != "weights" or self.heads is not None:
            return None
        firsts = [
            max(column - self.window, of.pad + of.context_start(self.context)) for of in spans
        ]
        if self.rows == "predicting":
            prompt = [column < of.output_column - 1 for of in spans]
            firsts = [
                column if spared else first for first, spared in zip(firsts, prompt, strict=True)
            ]
        first = min(column, *firsts)
        gain = 1.0 + self.beta
        if all(each == first for each in firsts):
            return slice(first, column), gain
        boosted = torch.arange(first, column) >= torch.tensor(firsts)[:, None]
        return slice(first, column), 1.0 + self.beta * boosted.double()

    def _gain(self, like: Tensor, context: AttentionContext) -> Tensor:
        """gain(q, j), shape (B, 1 or H, q, k)."""

        def make() -> Tensor:
            query = context.query_positions[:, :, None]
            key = context.key_positions[:, None, :]
            distance = query - key
            start = context.context_start(self.context)[:, :, None]
            boosted = (key >= start) & (distance >= 1) & (distance <= self.window)
            if self.rows == "predicting":
                boosted &= context.predicting_rows()[:, :, None]
            if self.heads is not None:
                outside = [head for head in self.heads if not 0 <= head < like.shape[1]]
                if outside:
                    raise ValueError(
                        f"heads {outside} are outside a layer of {like.shape[1]} attention heads"
                    )
                chosen = torch.zeros(like.shape[1], dtype=torch.bool, device=like.device)
                chosen[list(self.heads)] = True
                boosted = boosted[:, None] & chosen[None, :, None, None]
            else:
                boosted = boosted[:, None]
            gain = torch.ones(boosted.shape, dtype=like.dtype, device=like.device)
            return gain.masked_fill(boosted, 1.0 + self.beta)

        return context.cached(self, make)
