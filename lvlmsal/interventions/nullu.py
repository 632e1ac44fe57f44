"""Nullu: what tells hallucinated from true descriptions is projected out of the FFN's output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.errors import UnsupportedError
from lvlmsal.fits.states import Position
from lvlmsal.fits.statistics import DifferenceSubspace
from lvlmsal.interventions.base import FeedForwardIntervention
from lvlmsal.interventions.fitted import RANDOM, FittedIntervention
from lvlmsal.registry import INTERVENTIONS

KEPT: Final = 16
"""Directions that a fit keeps of each layer; ``rank`` takes the first of them."""


@INTERVENTIONS.register("nullu")
@dataclass(frozen=True)
class Nullu(FittedIntervention, FeedForwardIntervention):
    """Null space of a hallucination subspace: x loses its part in the subspace.

    With x (B, q, D) what the FFN adds to the residual stream, in every row of prompt and answer,
    and U (D, rank) orthonormal, of the layer::

        x <- x - U (U' x)

    which is what multiplying the down projection by I - U U' makes, as the public code
    (Ziwei-Zheng/Nullu) does: no weight is changed here, quantized models can be edited, and it can
    be switched off. Where a family norms the FFN's output (Gemma 2 and 3, GLM-4.1V), what comes out
    of the norm is projected: a reading of this library.

    The fit reads pairs of a true and a hallucinated description of one image. U holds the first
    right singular vectors of (state under the right one - state under the wrong one) / 2, a row for
    each pair, not centered; a state is the mean of the layer's output over all positions, those of
    the image included, or the last token's. The last layer's are read behind the last norm, as
    ``hidden_states`` of transformers have them; whether the public code does was not checked. It
    takes LURE's 5,000 pairs, which the format ``lure`` of ``lvlmsal fit`` reads.

    Images do not matter: samples without one are edited as well.

    Args:
        rank: directions that are taken off; 4 in the code's command, 8 in its defaults, 16 at most.
            0 is the plain model, bit for bit.
        position: whose state the fit reads, ``"mean"`` or ``"last"``.
        layers: where it acts; 16 to 31 of 32 in the code.

    The control is ``random``, a subspace of the same rank.
    """

    rank: int = 4
    position: Position = "mean"
    layers: LayerSpec = "0.5:"

    fit_options: ClassVar[tuple[str, ...]] = ("position",)
    shares_prefix: ClassVar[bool] = True
    summary: ClassVar[str] = "projects a fitted hallucination subspace out of the FFN's output"
    paper: ClassVar[str] = "Nullu: Mitigating Object Hallucinations via HalluSpace (CVPR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2412.13817"
    strong: ClassVar[Mapping[str, Any]] = {**RANDOM, "rank": KEPT, "layers": None}
    off: ClassVar[Mapping[str, Any]] = {"rank": 0}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rank <= KEPT:
            raise ValueError(f"rank must be from 0 (the plain model) to {KEPT}, got {self.rank}")
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether no direction is taken off."""
        return self.rank == 0

    @property
    def reads(self) -> Position:
        """As `position` says."""
        return self.position

    def statistics(self) -> DifferenceSubspace:
        """The subspaces of all layers."""
        return DifferenceSubspace(KEPT)

    def drawn(self, layers: int, width: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Subspaces of random directions, orthonormal."""
        found = torch.randn(layers, width, min(KEPT, width), generator=generator)
        return {"subspaces": torch.linalg.qr(found).Q}

    def of_layer(self, tensors: Mapping[str, Tensor], layer: int) -> Tensor:
        """U, (D, rank)."""
        found = tensors["subspaces"][layer]
        if found.shape[1] < self.rank:
            raise UnsupportedError(
                f"rank={self.rank} is more than the {found.shape[1]} directions of the fit"
            )
        return found[:, : self.rank]

    def feed_forward(self, inputs: Tensor, output: Tensor, context: AttentionContext) -> Tensor:
        """The output without its part in the subspace."""
        basis = self.held(context.layer)
        states = output.to(torch.promote_types(output.dtype, torch.float32))
        basis = basis.to(states.dtype)
        return (states - (states @ basis) @ basis.T).to(output.dtype)
