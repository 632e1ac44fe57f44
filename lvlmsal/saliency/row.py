"""S(c) of the rows of one recorded pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.recording import Recording
from lvlmsal.saliency.losses import LossGradient
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.reduce import check_finite, context_mask, layer_rows, token_saliency


def row_saliency(
    recording: Recording,
    loss: LossGradient,
    spans: Sequence[TokenSpans],
    options: SaliencyOptions,
    *,
    retain_graph: bool = False,
) -> Tensor:
    """S(c) of each row of a recorded pass, the last one of its sequence (Eq. 6).

    Rows follow one another, or stand side by side behind the same tokens.

    Args:
        recording: of the pass.
        loss: of its m rows; one backward pass serves them all.
        spans: of the prompt, one for each sample.
        options: which saliency.
        retain_graph: whether other candidates of the same rows follow.

    Returns:
        Shape (B, m), on the CPU; ``nan`` where the context is empty.

    Raises:
        LvlmsalError: the saliency overflowed in the model's dtype.
    """
    gradients = recording.gradients(
        loss.logits, loss.direction, loss.scale, retain_graph=retain_graph
    )
    weights = recording.weights
    if recording.side_by_side:
        weights, gradients = ({i: _one_own(of[i]) for i in of} for of in (weights, gradients))
    rows = layer_rows(weights, gradients, options).transpose(1, 2)
    count, keys = rows.shape[1], rows.shape[-1]
    # The column before which J ends: a row that predicts may look at its own column, a candidate's
    # row is the candidate's own.
    own = 1 if options.row == "predicting" else 0
    last = keys + own
    stops = [last - 1] * count if recording.side_by_side else range(last - count, last)
    members = context_mask(spans, keys, stops, options.context)
    found = token_saliency(rows, members.to(rows.device)).cpu()
    check_finite(found[members.any(-1)])
    return found


def _one_own(rows: Tensor) -> Tensor:
    """Rows (B, H, m, n + m) that stand side by side, with one column for what each is: n + 1."""
    count = rows.shape[2]
    before, own = rows[..., :-count], rows[..., -count:].diagonal(dim1=-2, dim2=-1)
    return torch.cat([before, own[..., None]], dim=-1)
