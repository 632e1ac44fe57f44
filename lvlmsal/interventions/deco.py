"""DeCo: what a middle layer is sure of is added to the logits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.adapters.heads import inner_logits
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.layers import LayerSpec, check_layers, resolve_layers
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.registry import INTERVENTIONS


@INTERVENTIONS.register("deco")
@dataclass(frozen=True)
class DeCo(LogitsIntervention):
    """Dynamic correction decoding with preceding-layer knowledge.

    With l the logits (V,) of a row that predicts a generated token and l_m those that the residual
    stream entering layer m gives through the last norm and the output projection::

        C      = the smallest set of tokens of mass >= top_p, of the top_k most probable ones
        m, y*  = argmax over m in layers, y in C of softmax(l_m)[y];   p = softmax(l_m)[y*]
        l'     = l + alpha p l_m   on C,   -inf elsewhere

    The probabilities of inner layers are taken over the whole vocabulary. Costs a product with the
    output projection for each layer, and no forward pass. It needs no image.

    Where the public code (zjunlp/Deco) and this differ, or it says nothing:

    - the code's greedy search mixes the rows of a batch; here each row has a layer of its own.
    - alpha is 0.6 in the code and 0.5 in the table of its README; the default is the code's.
    - **Layers.** The code reads 20 to 28 of 32, counted as here (0 are the embeddings). For other
      depths the same part of them, which is a choice of this library.
    - A row of fewer tokens than that (others are banned by another method) keeps those it has.

    ``alpha=0`` is the cut alone, the control that tells what the correction adds;
    ``alpha=0, top_p=1, top_k=0`` is the plain model.

    Args:
        alpha: strength of the correction.
        top_p: mass of the candidates; 1 cuts nothing by mass.
        top_k: most candidates that there may be; 0 for no such limit.
        layers: whose inputs are read, see :data:`~lvlmsal.attention.layers.LayerSpec`.
    """

    alpha: float = 0.6
    top_p: float = 0.9
    top_k: int = 20
    layers: LayerSpec = "0.625:0.91"

    summary: ClassVar[str] = "adds the logits of the middle layer that is surest of a candidate"
    paper: ClassVar[str] = (
        "MLLM Can See? Dynamic Correction Decoding for Hallucination Mitigation (ICLR 2025)"
    )
    url: ClassVar[str] = "https://arxiv.org/abs/2410.11779"
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"alpha": 5.0}
    off: ClassVar[Mapping[str, Any]] = {"alpha": 0.0, "top_p": 1.0, "top_k": 0}
    model_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "llava-1.5-7b": {"layers": "20:29"}
    }

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be at least 0 (no correction), got {self.alpha}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0, up to 1 (no cut), got {self.top_p}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 1, or 0 for no limit, got {self.top_k}")
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether neither correction nor cut is left."""
        return self.alpha == 0 and self.top_p == 1 and self.top_k == 0

    def exits(self, num_layers: int) -> Sequence[int]:
        """The layers that are read; none without a correction."""
        return resolve_layers(self.layers, num_layers) if self.alpha else ()

    def candidates(self, logits: Tensor) -> Tensor:
        """C, boolean, of logits (..., V).

        >>> DeCo().candidates(torch.tensor([2.0, 1.8, 0.0]))
        tensor([ True,  True, False])
        """
        size = logits.shape[-1]
        best = logits.softmax(-1).topk(min(self.top_k or size, size))
        before = best.values.cumsum(-1) - best.values
        kept = (before < self.top_p) | (self.top_p == 1)
        none = torch.zeros_like(logits, dtype=torch.bool)
        return none.scatter(-1, best.indices, kept) & logits.isfinite()

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """The corrected logits of the candidates, (B, r, V)."""
        kept = self.candidates(logits)
        corrected = logits
        if self.alpha:
            surest, chosen = self._surest(kept, logits, context)
            corrected = logits + self.alpha * surest[..., None] * chosen
        return corrected.masked_fill(~kept, -torch.inf)

    def _surest(self, kept: Tensor, like: Tensor, context: LogitsContext) -> tuple[Tensor, Tensor]:
        """The p (B, r) and l_m (B, r, V), one layer at a time: the vocabulary is large."""
        surest, chosen = like.new_full(like.shape[:-1], -1.0), like
        for layer in self.exits(context.adapter.num_layers):
            early = inner_logits(context.adapter, context.hidden[layer], norm=True).to(like)
            sure = early.softmax(-1).masked_fill(~kept, 0).amax(-1)
            surer = sure > surest
            surest = torch.where(surer, sure, surest)
            chosen = torch.where(surer[..., None], early, chosen)
        return surest, chosen
