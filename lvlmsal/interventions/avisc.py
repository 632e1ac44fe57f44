"""AvisC: contrast with the model on the image tokens that it attends to most, whatever is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention, HiddenStateIntervention, Intervention
from lvlmsal.interventions.contrast import Contrast
from lvlmsal.registry import INTERVENTIONS


class LastRow(AttentionIntervention):
    """Looks on: by layer, what the last row of a prompt gives each image token, (B, L)."""

    def __init__(self) -> None:
        self.by_layer: dict[int, Tensor] = {}

    def first_row(self, context: AttentionContext) -> int:
        """The last one."""
        return len(context.query_columns) - 1

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Keep the mean over heads of (B, H, q, k)."""
        self.by_layer[context.layer] = weights[:, :, -1].mean(1) * context.image_keys()
        return weights


@dataclass(frozen=True)
class OnlyBlind(HiddenStateIntervention):
    """Embeddings of all image tokens but the blind ones are zero.

    Args:
        share: of the attention to the image that the layers which choose have together.
        deviations: above the mean, from where on a token is blind.
    """

    share: float
    deviations: float

    def acting_layers(self, num_layers: int) -> Sequence[int]:
        """The first one, which embeddings enter."""
        return (0,)

    def prepare(self, prompt: Prompt) -> Tensor:
        """Which columns of the prompt are set to zero, boolean (B, L)."""
        look = LastRow()
        prompt.run(look)
        device = look.by_layer[0].device
        layers = torch.stack([look.by_layer[i].to(device) for i in sorted(look.by_layer)], dim=1)
        found = torch.zeros_like(layers[:, 0], dtype=torch.bool)
        for row, spans in enumerate(prompt.spans):
            columns = [spans.pad + p for image in spans.pictures for p in image]
            if columns:
                zero = self.unseeing(layers[row][:, columns])
                found[row, torch.tensor(columns, device=device)[zero]] = True
        return found

    def unseeing(self, weights: Tensor) -> Tensor:
        """Which image tokens are not blind, boolean (n,), by their weights in each layer (N, n)."""
        sums, order = weights.sum(-1).sort(descending=True)
        before = sums.cumsum(0) - sums
        chosen = order[before < self.share * sums.sum()]
        mean = weights[chosen].mean(0)
        if len(mean) == 1:  # of a single token there is no deviation
            return torch.zeros_like(mean, dtype=torch.bool)
        return mean < mean.mean() + self.deviations * mean.std()

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Zero the embeddings (B, q, D) of image tokens that are not blind."""
        zero: Tensor = context.state(self).to(states.device)
        width = zero.shape[1]
        rows = context.query_columns
        hit = zero[:, rows.clamp(max=width - 1)] & (rows < width)
        return states.masked_fill(hit[:, :, None], 0.0)


@INTERVENTIONS.register("avisc")
@dataclass(frozen=True)
class AvisC(Contrast):
    """Attentional vision calibration: subtracts what the model says on its blind tokens alone.

    Blind tokens are those image tokens that get far more attention than others. With A the weights
    of the prompt's last row, averaged over heads, in layer l on image token j::

        s_l = sum over j of A_lj           layers in falling order of s, until they have a share
                                           ``share`` of the sum of all s
        a_j = mean over these layers of A_lj
        blind: a_j >= mean(a) + deviations * std(a)     (unbiased, over the sample's image tokens)

    The second stream has the same prompt, in which the embeddings of all image tokens that are not
    blind are zero, and a cache of its own. With l and l' the logits (B, V) of both::

        l_cd = (1 + alpha) l - alpha l',   only where p(y) >= beta max p

    Attention is that of one more run of the prompt (the code takes it from the first pass, which
    comes to the same). The layer that reaches the share is among those that are taken: a reading of
    this library. All images of a sample make one set of tokens.

    alpha is 1 by default in the public code (sangminwoo/AvisC), 2.5 in its script for AMBER; its
    script for POPE lists 3 with the method switched off. It samples at temperature 1 and falls
    back to l where logits are not numbers, of which none arise here.

    Families that add image features to deeper layers as well (Qwen3-VL) are refused: zero
    embeddings would leave these. A sample without an image has nothing to contrast with; the cut
    still acts on it.

    Args:
        alpha: strength of the contrast.
        beta: plausibility cut; 0 cuts nothing.
        share: gamma of the paper, above 0, at most 1: all layers.
        deviations: lambda of the paper.
    """

    share: float = 0.5
    deviations: float = 1.0

    summary: ClassVar[str] = "contrasts the logits with those on the blind image tokens alone"
    paper: ClassVar[str] = "Don't Miss the Forest for the Trees: Attentional Vision Calibration"
    url: ClassVar[str] = "https://arxiv.org/abs/2405.17820"
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"alpha": 3.0, "beta": 0.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        if not math.isfinite(self.deviations):
            raise ValueError(f"deviations must be a number, got {self.deviations}")

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The same prompt; none without images or without a contrast.

        Raises:
            UnsupportedError: image features enter at several layers.
        """
        if not self.alpha or not any(spans.images for spans in prompt.spans):
            return None
        model = prompt.adapter.model
        vision = getattr(model.config, "vision_config", None)
        if getattr(vision, "deepstack_visual_indexes", None):
            raise UnsupportedError(
                f"{type(model).__name__} adds image features to several layers, and AvisC sets "
                "those of the first one to zero: use another contrast, such as vcd"
            )
        return prompt.again()

    def second_edits(self, prompt: Prompt) -> Sequence[Intervention]:
        """What leaves blind tokens alone there."""
        return (OnlyBlind(self.share, self.deviations),)
