"""VTI, the textual half: the FFN's output is turned from hallucinated to true descriptions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.fits.states import Position
from lvlmsal.fits.statistics import MeanAndComponent
from lvlmsal.interventions.base import FeedForwardIntervention
from lvlmsal.interventions.fitted import RANDOM, FittedIntervention
from lvlmsal.registry import INTERVENTIONS


@INTERVENTIONS.register("vti")
@dataclass(frozen=True)
class VTI(FittedIntervention, FeedForwardIntervention):
    """Visual and textual intervention, of which this is the textual part.

    With x (B, q, D) what the FFN adds to the residual stream, in every row of prompt and answer,
    v (D,) the direction of the layer and unit(x) = x / |x|::

        x <- |x| unit(unit(x) + 0.1 alpha unit(v))

    as the public code (shengliu66/VTI) has it. A vector of zeros stays one.

    The fit reads pairs of a true and a hallucinated description of one image: z is the state of the
    last token in all layers, under the right one minus under the wrong one, as one long vector. The
    direction is the mean of z plus the first principal component of the centered z, whose sign
    makes the largest entry of its left singular vector positive; cut into layers, that of the
    embeddings left out. As in the code the mean is not normalized before the component of length
    one is added, so that with long z the component hardly counts, and the last layer's state has
    passed the last norm. The code draws 50 to 70 pairs of a file of its own, which the format
    ``lure`` of ``lvlmsal fit`` reads; all pairs that are given are taken here.

    The visual part, which edits the vision tower in the same way, is not here: this is not VTI as
    its paper measures it. Images do not matter to the edit: samples without one are edited as well.

    Args:
        alpha: strength; 0.9 in the command of the code's README. 0 is the plain model, bit for bit.
        layers: where it acts; all in the code.

    The control is ``random``, another direction in each layer at the same strength.
    """

    alpha: float = 0.9
    layers: LayerSpec = None

    shares_prefix: ClassVar[bool] = True
    summary: ClassVar[str] = "turns the FFN's output towards true descriptions; the textual part"
    paper: ClassVar[str] = "Reducing Hallucinations via Latent Space Steering (ICLR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2410.15778"
    strong: ClassVar[Mapping[str, Any]] = {**RANDOM, "alpha": 10.0}
    off: ClassVar[Mapping[str, Any]] = {"alpha": 0.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be at least 0 (the plain model), got {self.alpha}")
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether alpha is zero."""
        return self.alpha == 0

    @property
    def reads(self) -> Position:
        """The last token of an answer."""
        return "last"

    def statistics(self) -> MeanAndComponent:
        """The directions of all layers."""
        return MeanAndComponent()

    def drawn(self, layers: int, width: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random directions."""
        return {"directions": torch.randn(layers, width, generator=generator)}

    def of_layer(self, tensors: Mapping[str, Tensor], layer: int) -> Tensor:
        """v, of length one, (D,)."""
        return normalize(tensors["directions"][layer], dim=-1)

    def feed_forward(self, inputs: Tensor, output: Tensor, context: AttentionContext) -> Tensor:
        """The output, turned and as long as it was."""
        states = output.to(torch.promote_types(output.dtype, torch.float32))
        turned = normalize(states, dim=-1) + 0.1 * self.alpha * self.held(context.layer).to(states)
        found: Tensor = normalize(turned, dim=-1) * states.norm(dim=-1, keepdim=True)
        return found.to(output.dtype)
