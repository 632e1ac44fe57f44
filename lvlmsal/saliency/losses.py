"""The loss whose gradient makes the saliency, in both readings of the row."""

from __future__ import annotations

import torch
from torch import Tensor

from lvlmsal.saliency.options import RowName


def row_losses(logits: Tensor, tokens: Tensor, row: RowName) -> Tensor:
    """Loss of each row of logits (Eq. 1).

    Args:
        logits: raw logits of the row that is read, shape (..., V): those at P - 1 for
            ``"predicting"``, those at P for ``"candidate"``.
        tokens: ids of the tokens that are judged, shape (...); unused by ``"candidate"``, whose
            loss is the model's own next prediction.
        row: the reading.

    Returns:
        Shape (...), with a graph wherever the logits have one.
    """
    with torch.enable_grad():
        log_probabilities = torch.log_softmax(logits, dim=-1)
        if row == "candidate":
            return -log_probabilities.max(dim=-1).values
        chosen = log_probabilities.gather(-1, tokens[..., None].to(logits.device))
        return -chosen.squeeze(-1)
