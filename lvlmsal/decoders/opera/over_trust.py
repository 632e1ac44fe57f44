"""The over-trust penalty of OPERA: how much the last tokens lean on one token before them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.place import is_aside
from lvlmsal.interventions.base import AttentionIntervention

LARGEST = 690.0
"""Logarithms of penalties end here: exp(690) is near the end of float64."""
VETO = 1e5
"""Penalties end here: no logit stands against it, and an answer's sum of them stays above -1e9."""


@dataclass
class Seen:
    """The rows of generated tokens in one layer's attention, in the pass that ran last.

    Attributes:
        rows: weights, the largest of all heads, each row divided by its sum, (B, q, k).
        image: which keys are visual tokens, (B, k).
    """

    rows: Tensor | None = None
    image: Tensor | None = None

    def local(self, start: int) -> Tensor:
        """Their weights on the columns from ``start`` on, (B, q, k - start), float64, on the CPU.

        Raises:
            RuntimeError: the layer has not been seen.
        """
        if self.rows is None:
            raise RuntimeError("no generated token's row was seen in the layer's attention")
        return self.rows[:, :, start:].double().cpu()

    def on_image(self) -> Tensor:
        """What they give to visual tokens, (B, q), float64, on the CPU."""
        if self.rows is None or self.image is None:
            raise RuntimeError("no generated token's row was seen in the layer's attention")
        return (self.rows * self.image[:, None]).sum(-1).double().cpu()


class LayerWatcher(AttentionIntervention):
    """Looks at the attention of generated tokens in one layer, and changes nothing.

    Passes that an intervention runs for itself (a second stream, a look at the prompt) are not
    looked at.

    Args:
        layer: which one; a negative one counts from the end.
    """

    def __init__(self, layer: int = -1) -> None:
        self.layers: Sequence[int] = (layer,)
        self.seen = Seen()

    def first_row(self, context: AttentionContext) -> int:
        """Rows of the prompt are not wanted."""
        rows = len(context.query_columns)
        # the row behind the one that predicts the first token is that token's own
        spans = context.spans[0]
        own = spans.output_column - context.first_query_column
        return rows if is_aside() else min(rows, max(0, own))

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Keep the rows; return the weights as they are."""
        if not is_aside():
            rows = weights.detach().amax(dim=1)
            rows = rows if rows.dtype == torch.float64 else rows.float()
            total = rows.sum(-1, keepdim=True)
            self.seen.rows = torch.where(total > 0, rows / total, 0.0)
            self.seen.image = context.image_keys()
        return weights


def column_sums(rows: Tensor, scale: float) -> Tensor:
    """Log prod_{i >= j} scale * w[i, j] of each column of square maps (B, t, t); (B, t).

    >>> column_sums(torch.tensor([[[0.5, 0.0], [0.25, 0.75]]]), 4.0).exp()
    tensor([[2., 3.]])
    """
    below = torch.ones(rows.shape[-2:], dtype=torch.bool).tril()
    return torch.where(below, (scale * rows).log(), 0.0).sum(-2)


def extended(sums: Tensor, row: Tensor, scale: float) -> Tensor:
    """The same of maps with one more row and column.

    Args:
        sums: of the maps so far, (..., t).
        row: (..., t + 1).
        scale: factor on weights.
    """
    return torch.nn.functional.pad(sums, (0, 1)) + (scale * row).log()


def over_trust(sums: Tensor, *, factor: float, window: int) -> tuple[Tensor, Tensor]:
    """Phi and the column where it stands.

    Args:
        sums: of each column, (..., t).
        factor: on the products.
        window: only this many of the last columns are looked at.

    Returns:
        phi (...), no larger than exp(690), and the column's index (...), the first one among
        equals.

    >>> over_trust(torch.tensor([[2.0, 3.0, 1.0]]).log(), factor=0.5, window=8)
    (tensor([1.5000]), tensor([1]))
    """
    first = max(0, sums.shape[-1] - window)
    largest, column = sums[..., first:].max(dim=-1)
    return (largest + math.log(factor)).clamp(max=LARGEST).exp(), column + first


def penalized(
    scores: Tensor,
    tokens: Tensor,
    penalties: Tensor,
    normalize: Literal["candidates", "vocabulary"],
) -> Tensor:
    """Log-probabilities of candidates with their penalties taken off.

    Args:
        scores: log-probabilities of the whole vocabulary, -inf where banned, (R, V).
        tokens: candidates, (R, N).
        penalties: of them, (R, N).
        normalize: over what they are normalized: ``"candidates"``, or ``"vocabulary"``, where the
            sum over all tokens stays what it was.

    Returns:
        Shape (R, N), where the penalties are and in their precision; -inf where a candidate is
        banned.

    >>> scores = torch.tensor([[0.5, 0.3, 0.2]]).log()
    >>> tokens, penalties = torch.tensor([[0, 1]]), torch.tensor([[2.0, 1.0]]).log()
    >>> penalized(scores, tokens, penalties, "candidates").exp()
    tensor([[0.4545, 0.5455]])
    >>> penalized(scores, tokens, penalties, "vocabulary").exp()
    tensor([[0.3333, 0.4000]])
    """
    values = scores.gather(1, tokens.to(scores.device)).to(penalties)
    banned = values == -torch.inf
    if normalize == "candidates":
        # only differences count, and theirs are not to be lost where all are large
        least = penalties.masked_fill(banned, torch.inf).amin(dim=1, keepdim=True)
        changed = values - (penalties - least).clamp(max=VETO)
        change = changed.logsumexp(dim=1, keepdim=True)
    else:
        changed = values - penalties.clamp(max=VETO)
        every = scores.to(penalties)
        after = every.scatter(1, tokens, changed).logsumexp(dim=1, keepdim=True)
        change = after - every.logsumexp(dim=1, keepdim=True)
    return torch.where(banned, -torch.inf, changed - change)
