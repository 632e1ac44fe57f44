"""What an intervention is: a base class with hooks that do nothing until they are overridden."""

from __future__ import annotations

import copy
from typing import ClassVar, Self

from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.kernel import PlainAttention
from lvlmsal.attention.layers import LayerSpec, resolve_layers


class Intervention:
    """Base of everything in the ``interventions`` registry. Subclasses are dataclasses.

    Attributes:
        name: set by the registry.
        summary: one line for listings.
        paper: title and year of the source.
        url: where to read it.
        supports_beam: whether it is right under beam search.
        supports_sgrs: whether saliency can be computed on the attention that it changes.
        shares_prefix: whether what it does to a row of the prompt depends on nothing behind that
            row, so that questions about one image can share the keys and values of the image.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    supports_beam: ClassVar[bool] = True
    supports_sgrs: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = False

    def bind(self, num_layers: int) -> Self:
        """A copy that is fitted to a model of ``num_layers`` layers; called once per session."""
        return copy.copy(self)


class AttentionIntervention(Intervention):
    """An edit of the scores before the softmax or of the weights after it.

    Override :meth:`scores`, :meth:`weights` or both; they run on the text decoder's attention only,
    in prefill and in decode steps alike. ``context`` tells positions, spans and layer.

    >>> class Flat(AttentionIntervention):
    ...     def scores(self, scores, context):
    ...         return scores * 0.5
    """

    layers: LayerSpec = None
    _bound: frozenset[int] | None = None

    def bind(self, num_layers: int) -> Self:
        """Resolve ``layers`` for a model of ``num_layers`` layers."""
        bound = super().bind(num_layers)
        object.__setattr__(bound, "_bound", frozenset(resolve_layers(self.layers, num_layers)))
        return bound

    @property
    def is_identity(self) -> bool:
        """Whether the options switch the edit off; then the plain kernel runs, bit for bit."""
        return False

    def applies_to(self, layer: int) -> bool:
        """Whether the edit acts in a layer."""
        return not self.is_identity and (self._bound is None or layer in self._bound)

    def first_row(self, context: AttentionContext) -> int:
        """Index of the first query row that the edit can change; rows before it stay on sdpa."""
        return 0

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        """Edit the scaled scores (B, H, q, k), before the mask and the softmax."""
        return scores

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Edit the weights (B, H, q, k), after the softmax; masked entries are zero."""
        return weights

    @property
    def has_closed_form(self) -> bool:
        """Whether :meth:`closed_form` is defined; it keeps long passes off the explicit weights."""
        return False

    def closed_form(self, plain: PlainAttention, context: AttentionContext) -> Tensor:
        """The edited output (B, H, q, d), from the plain kernel's output and log-sum-exp.

        The same edit as :meth:`scores` and :meth:`weights` make, without the matrix. It is used in
        passes of many rows where no gradient is asked for and no other intervention acts.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no closed form")
