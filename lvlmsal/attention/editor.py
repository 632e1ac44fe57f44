"""What the attention function asks of an intervention."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.kernel import PlainAttention


class Bindable(Protocol):
    """Anything that can be fitted to a model of a given depth: every intervention."""

    def bind(self, num_layers: int) -> object:
        """A copy for a model of ``num_layers`` layers."""


@runtime_checkable
class Editor(Protocol):
    """What the attention function asks of an intervention; see ``AttentionIntervention``."""

    @property
    def is_identity(self) -> bool:
        """Whether its options switch it off."""

    def applies_to(self, layer: int) -> bool:
        """Whether it acts in a layer."""

    def first_row(self, context: AttentionContext) -> int:
        """The first query row that it can change."""

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        """Edited scores (B, H, q, k)."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Edited weights (B, H, q, k)."""

    @property
    def has_closed_form(self) -> bool:
        """Whether :meth:`closed_form` is there."""

    def closed_form(self, plain: PlainAttention, context: AttentionContext) -> Tensor:
        """The edited output (B, H, q, d) from the plain one."""
