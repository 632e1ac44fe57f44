"""The gradient of the loss that makes the saliency, in both readings of the row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvlmsal.saliency.options import RowName

_SMALLEST = 1e-20


@dataclass(frozen=True)
class LossGradient:
    """dL/dlogits of some rows as ``scale * direction``, each with all its digits.

    Attributes:
        logits: of the rows, shape (..., V), with their graph.
        direction: shape (..., V); its largest entry lies between 0.5 and 1.
        scale: shape (...), powers of two.
    """

    logits: Tensor
    direction: Tensor
    scale: Tensor


def loss_gradient(logits: Tensor, tokens: Tensor, row: RowName) -> LossGradient:
    """Gradient of L = -log p(c) (Eq. 1) with respect to the logits.

    With q the softmax over all tokens but c, it is::

        dL/dlogits = (1 - p(c)) * (q - onehot(c))

    Written so, nothing cancels. ``p - onehot(c)`` loses all its digits where the model is sure of
    c: there 1 - p(c) is below float32's resolution, and S, which does not depend on the length of
    the gradient, would be made of rounding errors. And a direction of length near one passes
    through half precision where the gradient itself would vanish.

    Args:
        logits: raw logits of the rows that are read, shape (..., V): those at P - 1 for
            ``"predicting"``, those at P for ``"candidate"``.
        tokens: ids of the tokens that are judged, shape (...); unused by ``"candidate"``, whose
            loss is the model's own next prediction.
        row: the reading.

    >>> found = loss_gradient(torch.tensor([0.0, 0.0]), torch.tensor(0), "predicting")
    >>> found.direction, found.scale
    (tensor([-0.5000,  0.5000]), tensor(1.))
    """
    values = logits.detach()
    chosen = values.argmax(-1) if row == "candidate" else tokens.to(values.device)
    index = chosen[..., None]
    others = values.scatter(-1, index, -torch.inf)
    gap = others.logsumexp(-1) - values.gather(-1, index)[..., 0]
    # Its length only matters next to the attention (fusions `add` and `max`), not below that.
    length = torch.sigmoid(gap).clamp_min(_SMALLEST)
    # Only a power of two is split off: it changes no digit of what is computed on the way down,
    # where transformers' norms round to float32 in a model of any dtype.
    mantissa = torch.frexp(length).mantissa
    unit = torch.softmax(others, dim=-1).scatter(-1, index, -1.0)
    return LossGradient(logits, unit * mantissa[..., None], length / mantissa)
