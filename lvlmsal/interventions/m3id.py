"""M3ID: what the image adds to a prompt is amplified, the more the longer the answer is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.interventions.contrast import (
    check_contrast,
    plausible,
    rows_with_images,
    undecided,
    without_images,
)
from lvlmsal.registry import INTERVENTIONS, check_choices

# expm1 of more does not fit float32; at the default rate that is token 4,000
_LARGEST_EXPONENT = 80.0


@INTERVENTIONS.register("m3id")
@dataclass(frozen=True)
class M3ID(LogitsIntervention):
    """Multi-modal mutual-information decoding: counters the fading of the image along an answer.

    With l_c and l_u the log-probabilities (B, V) of the t-th token with the image and without it
    (its own stream and cache: the same prompt less its visual tokens)::

        l = l_c + open(l_c) * (exp(rate * t) - 1) * (l_c - l_u)

    All rows that predict generated tokens are edited. The weight is a matter of the answer's
    length, at the default rate::

        t        1      10     50     100    200    512
        weight   0.02   0.22   1.7    6.4    54     28,000

    So on answers of one or two tokens (POPE, MME) this is the plain model, cut off where the gate
    is ``"plausibility"``: gains there are due to the cut. In captions of hundreds of tokens the
    base model no longer counts wherever the gate is open: give a ``max_weight`` (5, say).

    No official code is known. What stands in for it in other papers' comparisons
    (sangminwoo/AvisC) differs from the paper:

    - the paper opens the gate where the model is unsure, ``max_y p_c(y) < alpha``; AvisC has it
      always open and cuts tokens with ``p_c(y) < beta max p_c`` instead. ``gate`` chooses; default:
      the paper's.
    - whether t begins at 0 or at 1 the sources for the paper leave open; AvisC begins at 1, and so
      does the default. At 0 the first token is the plain model's; the stream without the image
      runs for it all the same.
    - neither caps the weight; ``max_weight`` is this library's.

    A sample without an image has nothing to contrast with. In a second turn on the same cache t
    goes on counting.

    Args:
        rate: lambda, how fast the image fades, per token. AvisC's 0.02; 0 is not a contrast.
        gate: ``"confidence"`` (the paper) or ``"plausibility"`` (AvisC).
        alpha: the confidence, a probability, below which the gate ``"confidence"`` opens; as
            reported by others, for the paper's own value was not found.
        beta: cut of the gate ``"plausibility"``; 0 cuts nothing.
        origin: t of the first generated token.
        max_weight: the weight grows no further; None for no limit.

    >>> round(M3ID().weight(torch.tensor(50.0)).item(), 2)
    1.72
    """

    rate: float = 0.02
    gate: Literal["confidence", "plausibility"] = "confidence"
    alpha: float = 0.3
    beta: float = 0.1
    origin: Literal[0, 1] = 1
    max_weight: float | None = None

    summary: ClassVar[str] = "contrasts with the logits without the image, more and more"
    paper: ClassVar[str] = (
        "Multi-Modal Hallucination Control by Visual Information Grounding (CVPR 2024)"
    )
    url: ClassVar[str] = "https://arxiv.org/abs/2403.14003"
    has_second_stream: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = True
    shares_second: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"rate": 0.5, "alpha": 1.0}
    off: ClassVar[Mapping[str, Any]] = {"rate": 0.0, "beta": 0.0}

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and self.rate >= 0):
            raise ValueError(f"rate must be at least 0 (no contrast), got {self.rate}")
        check_choices(self)
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be a probability, from 0 to 1, got {self.alpha}")
        check_contrast(0, self.beta)
        if self.max_weight is not None and not self.max_weight >= 0:
            raise ValueError(f"max_weight must be at least 0, or None, got {self.max_weight}")

    @property
    def is_identity(self) -> bool:
        """Whether neither contrast nor cut is left."""
        return not self.brings_second_stream and (self.gate == "confidence" or self.beta == 0)

    @property
    def brings_second_stream(self) -> bool:
        """Whether there is a contrast."""
        return self.rate > 0 and self.max_weight != 0

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The prompt without its images; none where there are none."""
        if not self.brings_second_stream or not any(spans.images for spans in prompt.spans):
            return None
        return without_images(prompt)

    def weight(self, time: Tensor) -> Tensor:
        """exp(rate t) - 1 under its cap, for t of any shape."""
        grown = (self.rate * time).clamp(max=_LARGEST_EXPONENT).expm1()
        return grown if self.max_weight is None else grown.clamp(max=self.max_weight)

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        """Where the gate is open, or the cut leaves more than one token."""
        if self.gate == "plausibility":
            return undecided(logits, self.beta)
        return bool((logits.softmax(-1).amax(-1) < self.alpha).any())

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """l, under the cut of the gate ``"plausibility"``; shape (B, r, V)."""
        seen = logits.log_softmax(-1)
        found = seen
        if context.second is not None:
            unseen = context.second.to(seen).log_softmax(-1)
            weight = self.weight(context.steps(logits) + self.origin)
            is_open = rows_with_images(context, seen)
            if self.gate == "confidence":
                is_open = is_open & (seen.amax(-1, keepdim=True).exp() < self.alpha)
            # a token that another method banned stays banned, whatever the weight
            moves = is_open & seen.isfinite()
            found = torch.where(moves, seen + weight * (seen - unseen), seen)
        return plausible(found, logits, self.beta) if self.gate == "plausibility" else found
