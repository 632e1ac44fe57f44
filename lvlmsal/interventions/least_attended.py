"""What amateurs of contrasts share that go on with the tokens that they attend to least."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.interventions.base import AttentionIntervention


@dataclass(frozen=True)
class LeastAttended(AttentionIntervention):
    """From a layer on, rows no longer see what the layer before it attends to most.

    Each row that predicts goes by its own attention, averaged over heads, also where several are
    run in one pass; rows of the prompt go by that of its last one.

    Args:
        layer: the first one that no longer sees the others.
    """

    layer: int

    @abstractmethod
    def pool(self, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """What may be hidden from the rows that predict, and how much of it stays.

        Args:
            context: of the layer that chooses, with r rows that predict.

        Returns:
            Keys, boolean (B, r, k), and how many of them each row keeps, (B, r).
        """

    def acting_layers(self, num_layers: int) -> Sequence[int]:
        """The layer that chooses, and all behind it."""
        if self.layer >= num_layers:
            raise ValueError(f"layer {self.layer} is outside a model of {num_layers} layers")
        return range(self.layer - 1, num_layers)

    def first_row(self, context: AttentionContext) -> int:
        """All rows; of the layer that chooses those that predict."""
        return context.first_predicting_row if context.layer < self.layer else 0

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Choose by the weights (B, H, q, k) of the layer before, which stay."""
        if context.layer < self.layer:
            shares = weights[:, :, context.first_predicting_row :].mean(1)
            keys, count = self.pool(context)
            # of equals, such as what a window hides, the first, wherever padding puts them
            order = shares.masked_fill(~keys, torch.inf).argsort(dim=-1, stable=True)
            ranks = order.argsort(-1)
            context.carried[id(self), "hidden"] = keys & (ranks >= count[..., None])
        return weights

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        """Hide the others from all rows, (B, H, q, k)."""
        if context.layer < self.layer:
            return scores
        hidden: Tensor = context.carried[id(self), "hidden"].to(scores.device)
        prompt = context.first_predicting_row  # rows before it go by the choice of the first one
        hidden = torch.cat([hidden[:, :1].expand(-1, prompt, -1), hidden], dim=1)
        # Not minus infinity: a row that sees nothing but what is hidden sees that, evenly.
        return scores.masked_fill(hidden[:, None], torch.finfo(scores.dtype).min / 2)


def image_pool(context: AttentionContext) -> Tensor:
    """The image's keys, for each row that predicts, (B, r, k)."""
    rows = len(context.query_columns) - context.first_predicting_row
    return context.image_keys()[:, None].expand(-1, rows, -1)


def check_layer(layer: int) -> None:
    """Refuse a layer that has none before it.

    Raises:
        ValueError: it is the first one.
    """
    if layer < 1:
        raise ValueError(f"layer must be at least 1, for the one before it chooses, got {layer}")
