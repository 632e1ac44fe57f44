"""What methods with a second stream share: the plausibility cut, and prompts without images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.registry import check_choices


def plausible(logits: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Ban tokens that the model itself finds implausible (adaptive plausibility constraint).

    Token y stays where p(y) >= beta * max p under the reference, that is where its logit is at
    least the highest one plus ln(beta). A logits processor that bans all of these (such as
    ``min_new_tokens`` where only the end of sequence is plausible) leaves no token at all.

    Args:
        logits: to be cut, shape (..., V).
        reference: logits of the model as it is, same shape.
        beta: share of the highest probability; 0 bans nothing.

    >>> plausible(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 3.0]), 0.1)
    tensor([-inf, 2.])
    """
    if beta == 0:
        return logits
    lowest = reference.amax(-1, keepdim=True) + math.log(beta)
    return logits.masked_fill(reference < lowest, -torch.inf)


def undecided(logits: Tensor, beta: float) -> bool:
    """Whether :func:`plausible` leaves more than one token in some row of logits (..., V).

    Where it leaves one, a contrast cannot matter: that token is chosen, whatever its logit becomes.

    >>> undecided(torch.tensor([[0.0, 9.0], [0.0, 1.0]]), 0.1), undecided(torch.zeros(1, 1), 0.1)
    (True, False)
    """
    kept = plausible(logits, logits, beta).isfinite().sum(-1)
    return bool((kept > 1).any())


def check_contrast(alpha: float, beta: float) -> None:
    """Refuse strengths of a contrast and of its cut that mean nothing.

    Raises:
        ValueError: alpha is negative, or beta is not a share.
    """
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be at least 0 (no contrast), got {alpha}")
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must be from 0 (no cut) to 1, got {beta}")


@dataclass(frozen=True)
class Contrast(LogitsIntervention):
    """Base of contrasts ``(1 + alpha) l - alpha l'`` with a second stream, under a cut.

    A subclass makes the second stream's inputs, and may combine the two otherwise.

    Args:
        alpha: strength of the contrast.
        beta: plausibility cut; 0 cuts nothing.
    """

    alpha: float = 1.0
    beta: float = 0.1

    has_second_stream: ClassVar[bool] = True
    off: ClassVar[Mapping[str, Any]] = {"alpha": 0.0, "beta": 0.0}

    def __post_init__(self) -> None:
        check_contrast(self.alpha, self.beta)
        check_choices(self)

    @property
    def is_identity(self) -> bool:
        """Whether neither contrast nor cut is left."""
        return self.alpha == 0 and self.beta == 0

    @property
    def brings_second_stream(self) -> bool:
        """Whether there is a contrast."""
        return self.alpha != 0

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        """Where the cut leaves more than one token."""
        return undecided(logits, self.beta)

    def combined(self, logits: Tensor, second: Tensor) -> Tensor:
        """The contrast of two logits (B, r, V)."""
        return (1 + self.alpha) * logits - self.alpha * second

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """The contrast under the cut, shape (B, r, V); the cut alone without a second stream."""
        second = context.second
        contrasted = logits if second is None else self.combined(logits, second)
        return plausible(contrasted, logits, self.beta)


def rows_with_images(context: LogitsContext, like: Tensor) -> Tensor:
    """Which rows of a batch have an image, boolean (B, 1, 1), on the device of a tensor.

    A second stream that differs in the image alone says nothing about the others.
    """
    found = [bool(spans.images) for spans in context.spans]
    return torch.tensor(found, device=like.device)[:, None, None]


@dataclass(frozen=True)
class AddedView(Contrast):
    """Base of sums ``l + alpha l'`` with what the model says of another view, under a cut.

    A sum is not neutral where both are the same, but sharper: rows without an image keep their
    logits, and the cut leaves them alone as well.

    Args:
        alpha: weight of the other view.
        beta: plausibility cut; 0 cuts nothing.
        control: take l' = l, without a second stream, which sharpens the distribution and shows no
            other view. What the method gains over that is due to the view.
    """

    control: bool = False

    @property
    def brings_second_stream(self) -> bool:
        """Whether another view is shown."""
        return self.alpha != 0 and not self.control

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        """Where the cut leaves more than one token of a row with an image."""
        seen = rows_with_images(context, logits).flatten()
        return bool(seen.any()) and undecided(logits[seen], self.beta)

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """The sum under the cut, shape (B, r, V)."""
        second = logits if self.control else context.second
        added = logits if second is None else logits + self.alpha * second
        cut = plausible(added, logits, self.beta)
        return torch.where(rows_with_images(context, logits), cut, logits)


def without_images(prompt: Prompt) -> dict[str, Tensor]:
    """The prompt with its visual tokens left out, and the marks that wrap an image with them.

    Args:
        prompt: of any family.

    Returns:
        The inputs of the text that is left, padded at the left again.

    Raises:
        UnsupportedError: a prompt has no text.
    """
    ids = prompt.inputs["input_ids"]
    kept = []
    for number, (row, spans) in enumerate(zip(ids.cpu(), prompt.spans, strict=True)):
        own = row[spans.pad : spans.output_column]
        keep = torch.ones(len(own), dtype=torch.bool)
        for image in spans.images:
            start, end = prompt.adapter.marked(own.tolist(), image)
            keep[start:end] = False
        if not keep.any():
            raise UnsupportedError(
                f"sample {number} is nothing but its image, so no prompt is left without it: put "
                "text next to the image"
            )
        kept.append(own[keep])
    return prompt.adapter.fitting(left_padded(kept, ids))


def left_padded(rows: list[Tensor], like: Tensor) -> dict[str, Tensor]:
    """Token ids of different lengths as ``input_ids`` and ``attention_mask``.

    Args:
        rows: ids of each sample, shape (n,).
        like: ids of the batch, for dtype and device.
    """
    width = max(len(row) for row in rows)
    ids = like.new_zeros(len(rows), width)
    mask = torch.zeros_like(ids)
    for target, seen, row in zip(ids, mask, rows, strict=True):
        target[width - len(row) :] = row
        seen[width - len(row) :] = 1
    return {"input_ids": ids, "attention_mask": mask}
