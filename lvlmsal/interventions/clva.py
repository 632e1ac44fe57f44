"""A reconstruction of CLVA, cross-layer visual anchors, from what is public of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.versions import CACHE

Part = tuple[float, float]


def redistributed(
    share: Tensor, anchor: Tensor, noise: Tensor, sensitive: Tensor, alpha: float, beta: float
) -> Tensor:
    """The deep layers' edit; to be replaced once the paper's equations can be read.

    Args:
        share: how each head spreads its visual attention, summing to one over the keys,
            (B, H, q, k).
        anchor: p, the template of the intermediate layers, (B, 1, q, k).
        noise: n, the template of the early layers, (B, 1, q, k).
        sensitive: which heads are vision-sensitive, boolean (B, H, q, 1).
        alpha: strength of p, in sensitive heads.
        beta: strength of n, in all heads.

    Returns:
        relu(share + alpha p - beta n), summing to one; the share as it was where nothing is left.

    >>> share, anchor, noise = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    >>> redistributed(share, anchor, noise, torch.tensor(True), 0.5, 0.5)
    tensor([0., 1., 0.])
    """
    edited = (share + alpha * anchor * sensitive - beta * noise).clamp_min(0)
    return normalized(edited, share)


def _of_width(template: Tensor, like: Tensor) -> Tensor:
    """A template of other layers (B, 1, q, k), where it is one of the same keys.

    Raises:
        UnsupportedError: layers of the cache hold different columns.
    """
    if template.shape[-1] != like.shape[-1]:
        raise UnsupportedError(
            "CLVA carries weights from layer to layer, and layers of this cache hold different "
            f"columns, as some have a window: pass {CACHE}=transformers.DynamicCache() to generate"
        )
    return template.to(like.device)


def normalized(values: Tensor, otherwise: Tensor) -> Tensor:
    """Values (..., k) that sum to one over the keys; others where all of them are zero."""
    total = values.sum(-1, keepdim=True)
    # Nothing is divided by zero: a quotient that is dropped would still spoil gradients.
    return torch.where(total > 0, values / torch.where(total > 0, total, 1.0), otherwise)


@INTERVENTIONS.register("clva-reconstruction")
@dataclass(frozen=True)
class ClvaReconstruction(AttentionIntervention):
    """What CLVA may be: deep visual attention is pulled to an anchor and pushed off a noise.

    **No reproduction.** Of the paper only the abstract and the captions of its figures could be
    read, and no code is public. They tell the idea: visual attention of deep layers drifts back to
    the noise of early ones; heads are vision-sensitive or insensitive by the attention that they
    give to visual tokens; the mean attention of insensitive heads in early layers is the noise, of
    sensitive heads in intermediate layers the anchor; deep layers are pulled to the anchor and
    pushed off the noise, with two strengths alpha and beta, in one pass. Every equation, choice and
    number below is this library's own. Its results say nothing about CLVA.

    In one row that predicts a generated token, with A (H, k) the weights of a layer after the
    softmax and V the visual tokens::

        m_h = sum of A_h over V,   a_h = A_h / m_h on V             how head h spreads what it gives
        S   = the `sensitive` share of the layer's heads of largest m_h
        n   = normalized sum of a_h over the early layers, h not in S
        p   = normalized sum of a_h over the middle layers, h in S
        u_h = relu(a_h + alpha p [h in S] - beta n)                 in the deep layers
        A'_h = m_h u_h / sum(u_h) on V,   A_h elsewhere

    A head gives as much to the image as before, only elsewhere in it, and rows still sum to one. A
    head whose u is zero, and a sample without an image, are left alone. Each row has templates of
    its own, made in the pass that computes the row: nothing is kept from token to token. Other
    rows of the prompt are not edited.

    Saliency and SGRS take n and p as constants: gradients run through a_h and m_h of the edited
    layer, and not through the early and middle layers' weights by way of the templates. With them a
    weight would also be credited with where it moves the attention of later layers.

    Parts of the depth are fractions. The layer in which a part begins always belongs to it, so that
    no part of a shallow model is empty.

    Args:
        alpha: strength of the anchor.
        beta: strength of the noise; with alpha = 0 as well it is the plain model, bit for bit.
        sensitive: share of the heads that count as sensitive, in each layer and row.
        early: part of the depth whose insensitive heads show the noise.
        middle: part of the depth whose sensitive heads show the anchor.
        deep: part of the depth that is edited, behind the other two.

    >>> ClvaReconstruction().parts(32)
    (range(0, 4), range(8, 18), range(20, 32))
    """

    alpha: float = 0.5
    beta: float = 0.25
    sensitive: float = 0.5
    early: Part = (0.0, 0.125)
    middle: Part = (0.25, 0.55)
    deep: Part = (0.625, 1.0)

    summary: ClassVar[str] = "CLVA as it may be: deep visual attention follows middle layers"
    paper: ClassVar[str] = "Visual Attention Drifts, but Anchors Hold (2026), equations not known"
    url: ClassVar[str] = "https://arxiv.org/abs/2603.25088"
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"alpha": 4.0, "beta": 1.0}
    off: ClassVar[Mapping[str, Any]] = {"alpha": 0.0, "beta": 0.0}

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be at least 0 (no such edit), got {value}")
        if not 0 < self.sensitive < 1:
            raise ValueError(f"sensitive must be above 0 and below 1, got {self.sensitive}")
        for name in ("early", "middle", "deep"):
            start, stop = getattr(self, name)
            if not 0 <= start < stop <= 1:
                raise ValueError(
                    f"{name} must be two fractions of the depth from 0 to 1, the smaller one "
                    f"first, got {(start, stop)}"
                )
        if self.deep[0] < max(self.early[1], self.middle[1]):
            raise ValueError(
                f"deep begins at {self.deep[0]}, before early or middle ends: it needs what these "
                "layers show"
            )

    @property
    def is_identity(self) -> bool:
        """Whether both strengths are zero."""
        return self.alpha == 0 and self.beta == 0

    def parts(self, num_layers: int) -> tuple[range, range, range]:
        """Early, middle and deep layers of a model.

        Raises:
            ValueError: the model is so shallow that a layer would be both shown and edited.
        """
        early, middle, deep = (
            _layers(part, num_layers) for part in (self.early, self.middle, self.deep)
        )
        if deep.start < max(early.stop, middle.stop):
            raise ValueError(
                f"it needs more layers than {num_layers}: the deep part would begin at "
                f"layer {deep.start}, inside of the early or the middle one"
            )
        return early, middle, deep

    def acting_layers(self, num_layers: int) -> Sequence[int]:
        """It looks on in the early and middle layers and edits the deep ones."""
        return list(chain(*self.parts(num_layers)))

    def first_row(self, context: AttentionContext) -> int:
        """Rows of the prompt but its last one are neither read nor edited."""
        return context.first_predicting_row

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Read the templates off early and middle layers, edit (B, H, q, k) in deep ones."""
        early, middle, deep = self.parts(context.num_layers)
        first = context.first_predicting_row
        visual, rows = context.image_keys()[:, None, None], weights[:, :, first:]
        seen = rows * visual
        mass = seen.sum(-1, keepdim=True)
        share = normalized(seen, torch.zeros_like(seen))
        sensitive = self._sensitive(mass)
        if context.layer in early:
            self._show("noise", share * ~sensitive, context, early)
        if context.layer in middle:
            self._show("anchor", share * sensitive, context, middle)
        if context.layer not in deep:
            return weights
        noise, anchor = (self._template(name, share, context) for name in ("noise", "anchor"))
        moved = mass * redistributed(share, anchor, noise, sensitive, self.alpha, self.beta)
        return torch.cat([weights[:, :, :first], torch.where(visual, moved, rows)], dim=2)

    def _sensitive(self, mass: Tensor) -> Tensor:
        """S from the visual mass (B, H, q, 1): boolean, likewise; of equals the first heads."""
        heads = mass.shape[1]
        count = min(max(round(self.sensitive * heads), 1), max(heads - 1, 1))
        rank = mass.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        return rank < count

    def _show(self, name: str, share: Tensor, context: AttentionContext, part: range) -> None:
        """Add a layer's heads (B, H, q, k) to a template, which begins with its part."""
        key, found = (id(self), name), share.detach().sum(1, keepdim=True)
        if context.layer != part.start:
            found = found + _of_width(context.carried[key], found)
        context.carried[key] = found

    def _template(self, name: str, like: Tensor, context: AttentionContext) -> Tensor:
        """A template (B, 1, q, k) that sums to one; zero where no head saw an image."""
        shown = _of_width(context.carried[id(self), name], like).to(like)
        return normalized(shown, torch.zeros_like(shown))


def _layers(part: Part, num_layers: int) -> range:
    """The layers of a part of the depth, at least the one in which it begins."""
    start = min(round(part[0] * num_layers), num_layers - 1)
    return range(start, max(start + 1, round(part[1] * num_layers)))
