"""From the rows of one block of a pass to readings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.detection.columns import CELLS
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.reduce import check_finite, context_mask, fuse, normalize


def logit_readings(logits: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """What the distributions themselves say of tokens.

    Args:
        logits: raw ones of the rows that predict them, shape (..., V).
        tokens: ids, shape (...).

    Returns:
        ``log_probability``, ``odds``, ``entropy``, ``margin`` and ``largest``, shape (...).

    >>> found = logit_readings(torch.tensor([0.0, 0.0]), torch.tensor(1))
    >>> round(float(found["odds"]), 3), round(float(found["entropy"]), 3)
    (0.0, 0.693)
    """
    index = tokens[..., None].to(logits.device)
    logs = torch.log_softmax(logits, dim=-1)
    others = logits.scatter(-1, index, -torch.inf).logsumexp(-1)
    # The logs of the largest two, whose difference of probabilities keeps its digits near 1.
    first, second = logs.topk(2, dim=-1).values.unbind(-1)
    return {
        "log_probability": logs.gather(-1, index).squeeze(-1),
        "odds": logits.gather(-1, index).squeeze(-1) - others,
        "entropy": torch.special.entr(logs.exp()).sum(-1),
        "margin": first.exp() * -torch.expm1(second - first),
        "largest": first,
    }


@dataclass(frozen=True)
class Groups:
    """Which columns of a batch belong to what, each a mask of shape (B, columns).

    Attributes:
        image: visual tokens of all images.
        cells: which of `CELLS` runs of them a column is in, shape (B, columns, `CELLS`).
        prompt: text behind the images.
        output: the answer.
        new: the answer and the last column of the prompt, from which its first token is predicted.
        start: column of the first token of the answer.
    """

    image: Tensor
    cells: Tensor
    prompt: Tensor
    output: Tensor
    new: Tensor
    start: int

    @classmethod
    def of(cls, spans: Sequence[TokenSpans], columns: int, start: int) -> Groups:
        """Those of the prompts of a batch."""
        column = torch.arange(columns)
        image = torch.zeros(len(spans), columns, dtype=torch.bool)
        behind = torch.zeros(len(spans), columns, dtype=torch.bool)
        for row, sample in enumerate(spans):
            for first, end in sample.images:
                image[row, sample.pad + first : sample.pad + end] = True
            first, end = sample.prompt
            behind[row, sample.pad + first : sample.pad + end] = True
        before = image.cumsum(-1) - 1
        cell = before * CELLS // image.sum(-1, keepdim=True).clamp_min(1)
        cells = (cell[..., None] == torch.arange(CELLS)) & image[..., None]
        output = (column >= start).expand(len(spans), -1)
        new = (column >= start - 1).expand(len(spans), -1)
        return cls(image, cells, behind, output, new, start)


def attention_readings(
    weights: Tensor, groups: Groups, first: int, names: Iterable[str]
) -> dict[str, Tensor]:
    """What some rows of one layer look at.

    Args:
        weights: after the softmax, shape (B, H, rows, keys).
        groups: what the keys are; their masks may have more columns.
        first: number of the first row, where 0 is the last one of the prompt.
        names: of the readings.

    Returns:
        Shape (B, rows, H) each, with a dimension more for the cells. Where there is no image,
        these and ``lookback`` are nan.
    """
    rows, keys = weights.shape[-2:]
    values = weights if weights.dtype == torch.float64 else weights.float()

    def inside(mask: Tensor) -> Tensor:
        seen = mask[:, None, None, :keys].to(values)
        return (values * seen).sum(-1).transpose(1, 2)

    found = {}
    for name in names:
        if name == "attention_previous":
            own = torch.arange(rows) + first + groups.start - 1
            at = (own - 1).clamp_min(0).to(values.device)[None, None, :, None]
            picked = values.gather(-1, at.expand(*values.shape[:3], 1)).squeeze(-1)
            found[name] = picked.transpose(1, 2)
        elif name == "attention_cells":
            members = groups.cells[:, None, :keys].to(values)
            blind = ~groups.image.any(-1)[:, None, None, None].to(values.device)
            found[name] = (values @ members).masked_fill(blind, torch.nan).transpose(1, 2)
        elif name == "lookback":
            seen_images = groups.image[:, :keys].sum(-1)[:, None, None].to(values)
            count = torch.arange(first + 1, first + rows + 1)[None, :, None].to(values)
            given = inside(groups.image) / seen_images
            found[name] = given / (given + inside(groups.new) / count)
        else:
            found[name] = inside(getattr(groups, name.removeprefix("attention_")))
    return found


def saliency_readings(
    weights: Mapping[int, Tensor],
    gradients: Mapping[int, Tensor],
    spans: Sequence[TokenSpans],
    groups: Groups,
    first: int,
) -> dict[str, dict[int, Tensor]]:
    """Saliency of the tokens that some rows predict, under the options that are the default.

    Args:
        weights: attention by layer, shape (B, H, rows, keys).
        gradients: of the token's loss with respect to it, by layer.
        spans: of the prompts.
        groups: what the keys are.
        first: number of the first row, where 0 is the last one of the prompt.

    Returns:
        By reading and layer, shape (B, rows); nan where there are no such columns.

    Raises:
        LvlmsalError: the saliency overflowed in the model's dtype.
    """
    options = SaliencyOptions()
    found: dict[str, dict[int, Tensor]] = {
        name: {} for name in ("saliency", "saliency_image", "saliency_norm")
    }
    for layer, gradient in gradients.items():
        rows, keys = weights[layer].shape[-2:]
        fused = fuse(weights[layer], gradient, fusion=options.fusion, heads=options.heads)
        normal = normalize(fused)
        check_finite(normal)
        stops = [groups.start + first + row for row in range(rows)]
        members = context_mask(spans, keys, stops, options.context).to(normal)
        image = groups.image[:, None, :keys].to(normal)
        found["saliency"][layer] = (normal * members).sum(-1) / members.sum(-1)
        found["saliency_image"][layer] = (normal * image).sum(-1) / image.sum(-1)
        largest = fused.amax(-1).clamp_min(torch.finfo(fused.dtype).tiny)
        norms = torch.linalg.vector_norm((fused / largest[..., None]).double(), dim=-1)
        found["saliency_norm"][layer] = (norms * largest).to(normal)
    return found
