"""DoLa: contrast with what an early layer would say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.heads import inner_logits
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.layers import LayerSpec, check_layers, resolve_layers
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.interventions.contrast import plausible
from lvlmsal.registry import INTERVENTIONS, check_choices

_REACH = 20
"""Layers that a bucket spans in models too deep to be cut in halves."""


@INTERVENTIONS.register("dola")
@dataclass(frozen=True)
class DoLa(LogitsIntervention):
    """Decoding by contrasting layers: takes off what an early layer already says.

    With z the model's logits, h_j (B, D) the residual stream that enters layer j and W the output
    projection, for each row::

        F = log_softmax(z),   B_j = log_softmax(W h_j),   M_j = (softmax(z) + softmax(W h_j)) / 2
        d_j = (KL(M_j || softmax(z)) + KL(M_j || softmax(W h_j))) / 2
        l = F - B_J  where F >= max F + ln(relative_top), else -inf;   J = argmax over C of d_j

    C are the candidate layers: ``j`` counts from 0, the embeddings; the layer that is contrasted
    (the mature one) is the model's own output and is not listed. One candidate is the paper's
    static mode. Only rows that predict generated tokens are edited, in the prompt's last row and in
    every decode step. Costs a product with W for each candidate, and no forward pass.

    Where paper and public code (voidism/DoLa, taken over by transformers) differ:

    - the paper chooses by the Jensen-Shannon divergence. The code has its KL terms the other way
      round, as above, which is unbounded and so favors peaked early layers. Default: the code's;
      ``divergence="jsd"`` is the paper's.
    - the code averages over the vocabulary, the same choice up to rounding: in float16 those
      averages vanish for layers near the output, and the first of them wins. Here: a sum, in
      float32.
    - the code chooses one layer for the whole batch, by the mean of d_j. Here each row has its own:
      otherwise an answer would depend on the other questions of its batch, so that is not offered.
    - the code does not apply the final norm to h_j; ``apply_final_norm`` does it (ours).

    ``alpha`` is ours: ``l = F - alpha * B_J``. The paper has no strength that switches it off;
    ``alpha=0, relative_top=0`` is the plain model, and ``alpha=0`` alone is the cut alone, the
    control that tells what the contrast adds. Beam search, which the code lacks, normalizes l.
    After another edit that bans tokens, d_j is taken over those that are left.

    A repetition penalty, which is used with it in open-ended generation, is not built in:
    ``generate`` applies one to l where ``model.generation_config.repetition_penalty`` says so.

    Args:
        candidates: C. ``"low"`` are the even layers of the lower half, for long answers; ``"high"``
            those of the upper half, from its first on, for short ones; beyond 40 layers the lowest
            or highest 20. With tied embeddings ``"low"`` starts at 2, since layer 0 would only
            repeat the token. Otherwise a :data:`~lvlmsal.attention.layers.LayerSpec`:
            ``[0, 2, 4]``, ``"8:16"``, ``"0.5:1.0"``, None for all.
        divergence: what d_j is: ``"kl_m_q"`` or ``"jsd"``, see above.
        relative_top: plausibility cut; 0 cuts nothing.
        apply_final_norm: whether h_j passes the decoder's last norm on its way to W.
        alpha: strength of the contrast; 1 is the paper.

    >>> DoLa(candidates="low").layers_of(32), DoLa(candidates="high").layers_of(8)
    ([0, 2, 4, 6, 8, 10, 12, 14], [4, 6])
    """

    candidates: LayerSpec = "low"
    divergence: Literal["kl_m_q", "jsd"] = "kl_m_q"
    relative_top: float = 0.1
    apply_final_norm: bool = False
    alpha: float = 1.0

    summary: ClassVar[str] = "contrasts the logits with those of an early layer"
    paper: ClassVar[str] = "DoLa: Decoding by Contrasting Layers (ICLR 2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2309.03883"
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"candidates": [0, 1]}
    off: ClassVar[Mapping[str, Any]] = {"alpha": 0.0, "relative_top": 0.0}
    # As the comparison in OPERA (arXiv 2311.17911) runs it.
    model_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "llava-1.5-7b": {"candidates": [0, 2, 4, 6, 8, 10, 12, 14]}
    }

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be at least 0 (no contrast), got {self.alpha}")
        if not 0 <= self.relative_top <= 1:
            raise ValueError(f"relative_top must be from 0 (no cut) to 1, got {self.relative_top}")
        check_choices(self)
        if self.candidates not in ("low", "high"):
            try:
                check_layers(self.candidates)
            except ValueError as error:
                raise ValueError(f"candidates: {error}, or one of 'low' and 'high'") from error

    @property
    def is_identity(self) -> bool:
        """Whether neither contrast nor cut is left."""
        return self.alpha == 0 and self.relative_top == 0

    def layers_of(self, num_layers: int, *, tied: bool = False) -> list[int]:
        """C in a model of that depth.

        Args:
            num_layers: depth of the text decoder.
            tied: whether its output projection is its table of embeddings.

        Raises:
            ValueError: a layer is outside the model, or none is chosen.
        """
        half, deep = num_layers // 2, num_layers > 2 * _REACH
        if self.candidates == "low":
            start = min(2, half) if tied else 0
            # A model so shallow that nothing is left between them has one candidate.
            return list(range(start, _REACH if deep else half, 2)) or [start]
        if self.candidates == "high":
            return list(range(num_layers - _REACH if deep else half, num_layers, 2))
        try:
            return resolve_layers(self.candidates, num_layers)
        except ValueError as error:
            raise ValueError(
                f"candidates={self.candidates!r}: {error}. Layer {num_layers}, the model's own "
                "output, is what they are contrasted with and is not listed"
            ) from error

    def exits(self, num_layers: int) -> Sequence[int]:
        """C, whether the embeddings are tied or not; none without a contrast."""
        if self.alpha == 0:
            return ()
        found = {*self.layers_of(num_layers), *self.layers_of(num_layers, tied=True)}
        return sorted(found)

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """F - alpha B_J under the cut."""
        mature = logits.log_softmax(-1)
        contrasted = mature
        if self.alpha:
            contrasted = mature - self.alpha * self._premature(mature, context)
        return plausible(contrasted, mature, self.relative_top)

    def _premature(self, mature: Tensor, context: LogitsContext) -> Tensor:
        """B_J, shape (B, r, V), one candidate at a time: the vocabulary is large."""
        adapter = context.adapter
        layers = self.layers_of(adapter.num_layers, tied=_is_tied(adapter))
        chosen = self._early(context.hidden[layers[0]], mature, adapter)
        if len(layers) == 1:
            return chosen
        farthest = self._distance(mature, chosen)
        for layer in layers[1:]:
            early = self._early(context.hidden[layer], mature, adapter)
            distance = self._distance(mature, early)
            farther = distance > farthest
            farthest = torch.where(farther, distance, farthest)
            chosen = torch.where(farther[..., None], early, chosen)
        return chosen

    def _early(self, states: Tensor, mature: Tensor, adapter: ModelAdapter) -> Tensor:
        """B_j of the states (B, r, D) that enter layer j."""
        logits = inner_logits(adapter, states, norm=self.apply_final_norm)
        return logits.to(mature).log_softmax(-1)

    def _distance(self, mature: Tensor, early: Tensor) -> Tensor:
        """d_j (B, r) of log-probabilities (B, r, V), in their dtype: float32 or better."""
        middle = torch.logaddexp(mature, early) - math.log(2)
        if self.divergence == "jsd":
            parts = mature.exp() * (mature - middle) + early.exp() * (early - middle)
        else:
            parts = middle.exp() * (2 * middle - mature - early)
        return parts.masked_fill(mature.isneginf(), 0).sum(-1) / 2


def _is_tied(adapter: ModelAdapter) -> bool:
    """Whether the output projection is the very table of embeddings."""
    table = getattr(cast(Any, adapter.model).get_input_embeddings(), "weight", None)
    return table is not None and table is getattr(adapter.lm_head, "weight", None)
