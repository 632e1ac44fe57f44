"""Which saliency: the named readings of the paper, and what each of them is."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, TypedDict, Unpack, get_args

from lvlmsal.adapters.spans import ContextName
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.errors import UnknownName

RowName = Literal["predicting", "candidate"]
NormName = Literal["row", "matrix"]
HeadsName = Literal["abs_then_sum", "sum_then_abs"]
FusionName = Literal["product", "add", "max", "attention", "gradient"]
LossName = Literal["token", "sum"]
FUSIONS: tuple[FusionName, ...] = get_args(FusionName)

CONTEXT_TEXTS: dict[ContextName, str] = {
    "after_image": "the text after the image",
    "output": "the answer so far",
}
"""What legends call a context."""

DEFAULT_LAYERS = "0.5:1.0"
"""The deeper half of the decoder: the paper's "middle to deep layers"."""


class SaliencyKeywords(TypedDict, total=False):
    """The fields of :class:`SaliencyOptions` as keyword arguments."""

    row: RowName
    norm: NormName
    heads: HeadsName
    fusion: FusionName
    context: ContextName
    layers: LayerSpec
    loss: LossName


@dataclass(frozen=True, kw_only=True)
class SaliencyOptions:
    """How the saliency of a token is computed from attention A and its gradient G = dL/dA.

    For a token c at position P::

        S[l][r, j] = sum over heads of |A[l,h][r, j] * G[l,h][r, j]|      (Eq. 4)
        S(c)       = mean over target layers l and keys j in J of S[l][r, j] / ||S[l]||_2  (5-6)

    The paper's printed combination, loss at row P - 1 and attention row P, is identically zero by
    causality (a test of this library shows it); one of the two indices has to give.

    Args:
        row: ``"predicting"`` reads row P - 1, the one whose logits choose c, with the loss
            -log p(c). ``"candidate"`` reads row P, c's own, with the loss that this row can reach:
            the model's own next prediction after c.
        norm: ``"row"`` divides by the 2-norm of the row (the public code), ``"matrix"`` by the
            Frobenius norm of the lower triangle (Eq. 5 read literally; full graph only).
        heads: ``"abs_then_sum"`` (Eq. 4) or ``"sum_then_abs"`` (Eq. 11).
        fusion: what is summed over heads: ``"product"`` A * G, ``"add"`` A + |G|, ``"max"``
            max(A, |G|), ``"attention"`` A alone or ``"gradient"`` G alone.
        context: J, ``"after_image"`` (everything after the last visual token and before P) or
            ``"output"`` (generated tokens only).
        layers: target layers; the cost of a recorded step grows with the share of the weights above
            the lowest one.
        loss: what G is the gradient of: ``"token"``, the loss of the token that is judged, or
            ``"sum"``, that of all tokens of the answer (Eq. 2 read literally), which later tokens
            make through every position between them and the row; full graph only, for while
            decoding there are no later tokens yet.

    Raises:
        ValueError: an option has no such value.

    >>> SaliencyOptions(layers="0.5:1.0").row
    'predicting'
    """

    row: RowName = "predicting"
    norm: NormName = "row"
    heads: HeadsName = "abs_then_sum"
    fusion: FusionName = "product"
    context: ContextName = "after_image"
    layers: LayerSpec = DEFAULT_LAYERS
    loss: LossName = "token"

    def __post_init__(self) -> None:
        allowed = {
            "row": ("predicting", "candidate"),
            "norm": ("row", "matrix"),
            "heads": ("abs_then_sum", "sum_then_abs"),
            "fusion": FUSIONS,
            "context": ("after_image", "output"),
            "loss": ("token", "sum"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown: choose one of {', '.join(values)}"
                )
        check_layers(self.layers)
        if self.layers is not None and not isinstance(self.layers, str):
            # Ranges and tuples too become what a file gives back.
            object.__setattr__(self, "layers", [int(layer) for layer in self.layers])

    def but(self, **others: Unpack[SaliencyKeywords]) -> SaliencyOptions:
        """These options with some of them changed.

        Raises:
            UnknownName: there is no such option.
            ValueError: an option has no such value.

        >>> SaliencyOptions(row="candidate").but(norm="matrix").row
        'candidate'
        """
        known = [field.name for field in fields(self)]
        for name in others:
            if name not in known:
                raise UnknownName("saliency option", name, known)
        return replace(self, **others)

    @property
    def needs_full_graph(self) -> bool:
        """Whether rows alone do not tell: then a diagnosis takes the slow way."""
        return self.norm == "matrix" or self.loss == "sum"
