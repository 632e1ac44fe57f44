"""PAI: more attention to the image, and a contrast with the prompt without it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext, LogitsContext
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.base import AttentionIntervention, LogitsIntervention
from lvlmsal.interventions.contrast import plausible, undecided, without_images
from lvlmsal.registry import INTERVENTIONS, check_choices


@INTERVENTIONS.register("pai")
@dataclass(frozen=True)
class PAI(AttentionIntervention, LogitsIntervention):
    """Pay attention to image: raises its attention scores, takes off what the text alone says.

    In the chosen layers, all heads, with e the scaled scores (B, H, q, k) before the softmax, on
    the keys j of visual tokens and the rows q that predict a generated token (the last one of the
    prompt, and every generated one)::

        e(q, j) <- e(q, j) + alpha |e(q, j)|

    and with l the logits (B, V) that come of it, l' those of the same prompt without its images (a
    sequence and a cache of its own, fed with the same tokens, its attention left alone)::

        log p_pai = gamma log p - (gamma - 1) log p',   only where p(y) >= beta max p

    Here gamma l - (gamma - 1) l' is computed, which is the same up to a constant of each row. With
    gamma = 1 there is no second sequence and no cut. A sample without an image is contrasted with
    itself, which leaves the cut.

    Where paper and public code (LALBJ/PAI) differ:

    - alpha is 0.5 for LLaVA-1.5, 0.6 for Shikra and 0.2 for MiniGPT-4 in the paper; the code's
      commands have 0.2. Default: 0.2, and 0.5 for LLaVA-1.5.
    - gamma is 1.1 in the paper and in the code's commands, 2 where the code is given none.
    - Eq. 4 has probabilities, gamma p - (gamma - 1) p', and, as it is quoted, no cut; the code
      takes their logarithms and cuts at 0.1. Default: the code's; ``contrast="probabilities"``
      with ``beta=0`` is the other. Probabilities below zero are then taken for zero.
    - the paper finds the first layer of each model from where its attention sinks set in; the
      code's commands have layers 2 to 32 of 32. Default: the same share of any depth, which is
      all layers of a model that has no more than eight.

    The code's second sequence is not reordered with the beams, and its image has one place in the
    whole batch; here both follow the samples. In families that wrap an image in marks, these are
    left out with it; the paper has no such model.

    Args:
        alpha: strength of the attention edit; 0 leaves attention alone.
        gamma: strength of the contrast; 1 is none.
        beta: plausibility cut of the contrast; 0 cuts nothing.
        contrast: ``"logs"`` or ``"probabilities"``, see above.
        layers: see :data:`~lvlmsal.attention.layers.LayerSpec`.

    Example:
        >>> from lvlmsal.attention.layers import resolve_layers
        >>> [resolve_layers(PAI().layers, depth)[0] for depth in (2, 8, 28, 32, 40, 64)]
        [0, 0, 2, 2, 2, 4]
    """

    alpha: float = 0.2
    gamma: float = 1.1
    beta: float = 0.1
    contrast: Literal["logs", "probabilities"] = "logs"
    layers: LayerSpec = "0.0625:"

    summary: ClassVar[str] = "raises attention to the image, contrasts with the prompt without it"
    paper: ClassVar[str] = "Paying More Attention to Image (ECCV 2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2407.21771"
    has_second_stream: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = True
    shares_second: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"alpha": 1.0, "gamma": 1.5}
    off: ClassVar[Mapping[str, Any]] = {"alpha": 0.0, "gamma": 1.0}
    model_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {"llava-1.5-*": {"alpha": 0.5}}

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be at least 0 (no edit of attention), got {self.alpha}")
        if not (math.isfinite(self.gamma) and self.gamma >= 1):
            raise ValueError(f"gamma must be at least 1 (no contrast), got {self.gamma}")
        if not 0 <= self.beta <= 1:
            raise ValueError(f"beta must be from 0 (no cut) to 1, got {self.beta}")
        check_choices(self)
        if self.contrast == "probabilities" and self.beta:
            # All that is plausible may be below zero: then no token would be left.
            raise ValueError(
                f"contrast='probabilities' has no plausibility cut, got beta={self.beta}: "
                "give beta=0 with it"
            )
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether neither part is left."""
        return self.alpha == 0 and self.gamma == 1

    @property
    def brings_second_stream(self) -> bool:
        """Whether there is a contrast."""
        return self.gamma != 1

    def applies_to(self, layer: int) -> bool:
        """Whether attention is edited in a layer."""
        return self.alpha != 0 and super().applies_to(layer)

    def first_row(self, context: AttentionContext) -> int:
        """The last row of the prompt."""
        return context.first_predicting_row

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        """Raise the scores of visual tokens by alpha times their size."""

        def make() -> Tensor:
            rows = context.predicting_rows()[:, :, None]
            return (rows & context.image_keys()[:, None])[:, None]

        return torch.where(context.cached(self, make), scores + self.alpha * scores.abs(), scores)

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The prompt without its images; none where there is no image, or no contrast."""
        if not self.brings_second_stream or not any(spans.images for spans in prompt.spans):
            return None
        return without_images(prompt)

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        """Where the cut leaves more than one token."""
        return undecided(logits, self.beta)

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """The contrast under the cut."""
        if not self.brings_second_stream:
            return logits
        contrasted = logits
        if context.second is not None:
            blind = context.second.to(logits)
            if self.contrast == "probabilities":
                mixed = self.gamma * logits.softmax(-1) - (self.gamma - 1) * blind.softmax(-1)
                return mixed.clamp(min=0).log()
            contrasted = self.gamma * logits - (self.gamma - 1) * blind
        return plausible(contrasted, logits, self.beta)
