"""What a session asks of an intervention: one protocol for each place where it may act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import AttentionContext, LogitsContext
from lvlmsal.attention.kernel import PlainAttention
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError


class Bindable(Protocol):
    """Anything that can be fitted to a model of a given depth: every intervention."""

    def bind(self, num_layers: int) -> object:
        """A copy for a model of ``num_layers`` layers."""


class Bound(Protocol):
    """What every editor answers."""

    @property
    def is_identity(self) -> bool:
        """Whether its options switch it off."""

    def applies_to(self, layer: int) -> bool:
        """Whether it acts in a layer."""

    def prepare(self, prompt: Prompt) -> Any:
        """What it keeps of a prompt for the passes that follow."""


@runtime_checkable
class Editor(Bound, Protocol):
    """An edit of attention; see ``AttentionIntervention``."""

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

    def key_gains(
        self, column: int, spans: Sequence[TokenSpans]
    ) -> tuple[slice, float | Tensor] | None:
        """Factors on the weights of a single row, where these are all that it edits."""


@runtime_checkable
class LayerEditor(Bound, Protocol):
    """An edit of the residual stream; see ``HiddenStateIntervention``."""

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        """What enters a layer, (B, q, D)."""

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        """What leaves a layer, (B, q, D)."""


@runtime_checkable
class FeedForwardEditor(Bound, Protocol):
    """An edit of what feed-forward blocks add; see ``FeedForwardIntervention``."""

    def feed_forward(self, inputs: Tensor, output: Tensor, context: AttentionContext) -> Tensor:
        """What the layer adds to the residual stream, (B, q, D)."""


InLayer = LayerEditor | FeedForwardEditor
"""What hooks on layers are for."""


@runtime_checkable
class LogitsEditor(Bound, Protocol):
    """An edit of the logits; see ``LogitsIntervention``."""

    def exits(self, num_layers: int) -> Sequence[int]:
        """Layers whose inputs it wants to read."""

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """Inputs of its second stream, or of several by name."""

    def second_edits(self, prompt: Prompt) -> Sequence[Bindable] | Mapping[str, Sequence[Bindable]]:
        """Edits that act in its second streams alone."""

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        """Whether the second stream's logits matter for these rows."""

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """Edited logits (B, r, V)."""


def returned(
    found: Any, given: Tensor, editor: object, method: str, what: str = "its first argument"
) -> Tensor:
    """What an editor's method returned, which must have the shape of what it was given.

    Args:
        found: What it returned.
        given: What it was given.
        editor: Whose method it is.
        method: Its name.
        what: What it was given, in words.

    Raises:
        UnsupportedError: it is no such tensor.
    """
    shape = found.shape if isinstance(found, Tensor) else None
    if shape == given.shape:
        tensor: Tensor = found
        return tensor
    got = type(found).__name__ if shape is None else f"a tensor of shape {tuple(shape)}"
    raise UnsupportedError(
        f"{type(editor).__name__}.{method} returned {got}, expected a tensor of shape "
        f"{tuple(given.shape)}, that of {what}: return that, edited"
    )


@runtime_checkable
class KeepsGoing(Protocol):
    """What keeps something of prompts, whose first columns may be run once for several of them."""

    def go_on(self, state: Any, spans: Sequence[TokenSpans], cached: int) -> Any:
        """What it keeps of the prompts, from what it kept of these columns."""


@runtime_checkable
class MeetsModel(Protocol):
    """What is made for one model, and sees beforehand that it is this one."""

    def meet(self, adapter: ModelAdapter) -> None:
        """Look at the model before the first pass, and fetch what is needed for it."""


def fitted(intervention: Bindable, adapter: ModelAdapter) -> Bound:
    """An intervention as an edit of a model.

    Raises:
        UnsupportedError: it is none of the four kinds of editors, or was made for another model.
    """
    edit = intervention.bind(adapter.num_layers)
    if isinstance(edit, Editor | InLayer | LogitsEditor):
        if isinstance(edit, MeetsModel) and not edit.is_identity:
            edit.meet(adapter)
        return edit
    raise UnsupportedError(
        f"{type(intervention).__name__} edits nothing: subclass AttentionIntervention, "
        f"HiddenStateIntervention, FeedForwardIntervention or LogitsIntervention of "
        f"lvlmsal.interventions"
    )
