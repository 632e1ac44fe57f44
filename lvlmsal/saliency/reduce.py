"""From attention and gradient to saliency: fusion, sum over heads, norm, mean over the context."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lvlmsal.adapters.spans import ContextName, TokenSpans
from lvlmsal.errors import LvlmsalError
from lvlmsal.saliency.options import FusionName, HeadsName, SaliencyOptions


def fuse(
    weights: Tensor,
    gradients: Tensor,
    *,
    fusion: FusionName = "product",
    heads: HeadsName = "abs_then_sum",
) -> Tensor:
    """Unnormalized saliency of one layer (Eq. 4 and 11).

    Args:
        weights: attention after the softmax, shape (..., H, q, k).
        gradients: dL/dA, same shape.
        fusion: see :class:`~lvlmsal.saliency.options.SaliencyOptions`.
        heads: whether the absolute value is taken before or after the sum over heads.

    Returns:
        Shape (..., q, k), non-negative; zero where the attention is masked.

    >>> fuse(torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[2.0, -4.0]]]))
    tensor([[1., 2.]])
    """
    if fusion == "product":
        fused = weights * gradients
    elif fusion == "attention":
        fused = weights
    else:
        # A masked key has a gradient too (its value is still there), but no part in the output.
        seen = torch.where(weights > 0, gradients, torch.zeros_like(gradients))
        if fusion == "gradient":
            fused = seen
        elif fusion == "add":
            fused = weights + seen.abs()
        else:
            fused = torch.maximum(weights, seen.abs())
    summed = fused.abs().sum(-3) if heads == "abs_then_sum" else fused.sum(-3).abs()
    return summed if summed.dtype == torch.float64 else summed.float()


def normalize(saliency: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    """Divide by the 2-norm over ``dim``; an all-zero row stays zero (Eq. 5).

    >>> normalize(torch.tensor([3.0, 4.0]))
    tensor([0.6000, 0.8000])
    """
    tiny = torch.finfo(saliency.dtype).tiny
    # By the largest entry first: squares of small ones would vanish.
    scaled = saliency / saliency.amax(dim=dim, keepdim=True).clamp_min(tiny)
    norm: Tensor = torch.linalg.vector_norm(scaled, dim=dim, keepdim=True)
    return scaled / norm.clamp_min(tiny)


def context_mask(
    spans: Sequence[TokenSpans], columns: int, stops: Sequence[int], context: ContextName
) -> Tensor:
    """The set J of each sample and judged token as a mask over columns.

    Args:
        spans: one for each sample.
        columns: number of key columns.
        stops: columns of the m tokens that are judged; J ends before each.
        context: which tokens J begins with.

    Returns:
        Boolean, shape (B, m, columns).
    """
    column = torch.arange(columns)
    starts = torch.tensor([s.pad + s.context_start(context) for s in spans])[:, None, None]
    return (column >= starts) & (column < torch.tensor(list(stops))[:, None])


def token_saliency(rows: Tensor, members: Tensor) -> Tensor:
    """S(c) of Eq. 6: the mean over layers and over the keys in J.

    Args:
        rows: normalized saliency of a token's row in each layer, shape (..., L, k).
        members: J, boolean, shape (..., k).

    Returns:
        Shape (...); ``nan`` where J is empty, for which S is undefined.
    """
    kept = rows.mean(-2) * members.to(rows)
    return kept.sum(-1) / members.sum(-1)


def check_finite(saliency: Tensor) -> None:
    """Refuse saliency that overflowed somewhere on the way.

    Raises:
        LvlmsalError: an entry is not finite.
    """
    if not bool(torch.isfinite(saliency).all()):
        raise LvlmsalError(
            "the saliency is not finite: activations or gradients overflowed in the model's dtype; "
            "load the model with dtype='bfloat16' or dtype='float32'. Or an intervention divides "
            "by zero, if only where it then drops the quotient"
        )


def layer_rows(
    weights: dict[int, Tensor],
    gradients: dict[int, Tensor],
    options: SaliencyOptions,
) -> Tensor:
    """Fused and row-normalized saliency of every target layer, shape (B, L, q, k)."""
    layers = [
        fuse(weights[layer], gradients[layer], fusion=options.fusion, heads=options.heads)
        for layer in sorted(gradients)
    ]
    # Layers of a model that is spread over devices meet on the first one.
    stacked = torch.stack([layer.to(layers[0].device) for layer in layers], dim=1)
    return normalize(stacked)


def over_earlier(
    values: Tensor, intervals: Sequence[tuple[int, int]], first: int, reduce: str
) -> Tensor:
    """What each row has in some intervals of the positions before its own.

    Args:
        values: rows of an answer, shape (T, L, n).
        intervals: of positions, end excluded; what overlaps counts once.
        first: position of the first row; the others follow it.
        reduce: ``"mean"`` or ``"sum"`` over the positions.

    Returns:
        Shape (T, L); ``nan`` where no position is left.

    Raises:
        ValueError: another ``reduce``.
    """
    if reduce not in ("mean", "sum"):
        raise ValueError(f"reduce={reduce!r} is unknown: choose 'mean' or 'sum'")
    position = torch.arange(values.shape[-1])
    inside = torch.zeros(values.shape[-1], dtype=torch.bool)
    for start, end in intervals:
        inside[start:end] = True
    own = torch.arange(len(values))[:, None] + first
    members = (inside & (position < own))[:, None].to(values)
    count = members.sum(-1)
    total = (values * members).sum(-1)
    return torch.where(count > 0, total / count if reduce == "mean" else total, torch.nan)
