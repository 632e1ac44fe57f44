"""EAH: the head that has the most image sinks shows its attention to all heads of its layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.registry import INTERVENTIONS, check_choices

_RAMP = 611
"""Divisor of the second visual token in the public code; there are 576 visual tokens."""


@INTERVENTIONS.register("eah")
@dataclass(frozen=True)
class EAH(AttentionIntervention):
    """Enhancing attention heads (EVAS): a shallow layer's densest head is copied to all heads.

    With A (H, T, T) the weights of a prompt of T tokens after the softmax and I its visual tokens,
    in each of the ``layers``::

        c_hy  = sum over rows t != y of A[h, t, y] / (T - 1 - y)        for y in I
        n_h   = number of y in I with c_hy > beta                       image sinks of head h
        A[h] <- A[h*] for all h,   h* = the first h of largest n_h,     unless that is 0

    Each head keeps its own values. Whole rows are copied, so they sum to one as before. Only the
    prompt's rows are edited, its last one among them; generated tokens meet the edit in the keys
    and values of later layers. What is chosen depends on every row of the prompt, hence
    ``looks_ahead``. Saliency takes h* as a constant. A sample without an image is left alone.

    The rows of the prompt are computed explicitly in these layers (32 weights of T x T in
    LLaVA-1.5-7B), which is what it costs. A prompt whose beginning is in the cache of an earlier
    turn is refused: the rows that are missing would count.

    Where the README (and the paper, as others quote it; it was not read) and the public code
    (itsqyh/Shallow-Focus-Deep-Fixes, ``modeling_llama_eah.py``) differ:

    - **Layer and beta.** The README has the second layer (index 1) and 0.002, the defaults here.
      In the code they are layer 15 and 0.0008, whatever its environment variables say:
      ``layers=[15], beta=0.0008``.
    - **Divisor.** The code divides by 611 for the second visual token, 610 for the third and so
      on, and leaves the first out. With about 648 tokens of prompt that is the number of rows
      behind y, which is what is meant: the default here, counted in each sample.
      ``divisor="code"`` is the ramp, for samples of up to 576 visual tokens.
    - **Head 0.** Where it wins, the code copies nothing. That is not offered.
    - **Batches.** The code edits the first row of a batch, that is one beam. Here every row has a
      head of its own.

    Args:
        beta: what makes a sink, a mean weight; from 1 on nothing does, and the plain model runs.
        divisor: ``"rows"`` or ``"code"``, see above.
        layers: where it acts; the second one by default.

    >>> EAH(beta=1.0).is_identity
    True
    """

    beta: float = 0.002
    divisor: Literal["rows", "code"] = "rows"
    layers: LayerSpec = "1:2"

    summary: ClassVar[str] = "copies the head with the most image sinks to all heads of its layer"
    paper: ClassVar[str] = "Shallow Focus, Deep Fixes: Vision Attention Sinks (EMNLP 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2411.09968"
    looks_ahead: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"beta": 0.0, "layers": None}
    off: ClassVar[Mapping[str, Any]] = {"beta": 1.0}

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"beta must be at least 0 (and below 1 to act), got {self.beta}")
        check_choices(self)
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether no weight can be a sink."""
        return self.beta >= 1

    def prepare(self, prompt: Prompt) -> dict[int, Tensor]:
        """By layer, the head h* (B,) of each sample, -1 for none; noted while the prompt runs."""
        return {}

    def first_row(self, context: AttentionContext) -> int:
        """All rows of the prompt are looked at; none in passes behind it, or without an image."""
        behind = context.first_query_column >= context.spans[0].output_column
        if behind or not any(spans.images for spans in context.spans):
            return len(context.query_columns)
        return 0

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Copy the chosen head's rows of the prompt to all heads of (B, H, q, k)."""
        if not any(spans.images for spans in context.spans):
            return weights
        heads: dict[int, Tensor] = context.state(self)
        starts = [[spans.output_start] for spans in context.spans]
        place = context.query_positions
        prompt = (place >= 0) & (place < place.new_tensor(starts))
        if context.layer not in heads:
            if context.first_query_column:
                raise UnsupportedError(
                    "EAH chooses a head by all rows of the prompt: run the prompt as a whole"
                )
            heads[context.layer] = self._densest(weights.detach(), prompt, context)
        head = heads[context.layer].to(weights.device)
        copied = weights[torch.arange(len(head)), head.clamp(min=0)][:, None]
        edited = (head >= 0)[:, None] & prompt
        return torch.where(edited[:, None, :, None], copied, weights)

    def _densest(self, weights: Tensor, prompt: Tensor, context: AttentionContext) -> Tensor:
        """The head (B,) of the most sinks in (B, H, q, k), -1 where there is none at all."""
        other = context.query_columns[:, None] != context.key_columns
        seen = weights * (prompt[:, :, None] & other)[:, None]
        column = seen.sum(2) / self._rows_behind(context)[:, None]
        sinks = (column > self.beta) & self._counted(context)[:, None]
        count, heads = sinks.sum(-1), weights.shape[1]
        order = torch.arange(heads, 0, -1, device=count.device)  # of equals the first
        found = (count * heads + order).argmax(1)
        return found.masked_fill(count.amax(1) == 0, -1)

    def _counted(self, context: AttentionContext) -> Tensor:
        """Which keys may be sinks, boolean (B, k)."""
        visual = context.image_keys()
        return visual if self.divisor == "rows" else visual & (visual.cumsum(-1) > 1)

    def _rows_behind(self, context: AttentionContext) -> Tensor:
        """What sums over rows are divided by, (B, k); at least 1."""
        if self.divisor == "rows":
            last = context.key_positions.new_tensor([[s.output_start - 1] for s in context.spans])
            return (last - context.key_positions).clamp(min=1)
        order = context.image_keys().cumsum(-1)
        most = int(order.max())
        if most > 576:
            raise UnsupportedError(
                f"divisor='code' is that of an image of 576 visual tokens, and a sample has {most}:"
                " use divisor='rows'"
            )
        return (_RAMP + 2 - order).clamp(min=1)
