"""Sink tokens: found by their massive activations in a few dimensions of the residual stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.unedited import unedited
from lvlmsal.errors import UnsupportedError

EPSILON = 1e-6
"""Under the root of the mean square, as in the released code of VisSink."""


@dataclass(frozen=True)
class LayerSinks:
    """Sinks of a prompt in one layer; masks over its columns.

    Attributes:
        sinks: all of them, boolean (B, 1, 1, n).
        visual: those within an image, likewise.
        rest: the rest of the images, likewise.
        has_visual: samples with any visual sink, boolean (B, 1, 1, 1).
        found: whether any sample has any.
    """

    sinks: Tensor
    visual: Tensor
    rest: Tensor
    has_visual: Tensor
    found: bool


@dataclass
class Sinks:
    """What is kept of the sinks of a prompt.

    Attributes:
        width: its columns, n.
        dims: of each sample, where massive activations are looked for.
        seen: by layer, which of the columns that have been run are sinks, boolean (B, columns).
        of_layer: likewise, filled while the prompt runs.
    """

    width: int
    dims: Sequence[tuple[int, ...]]
    seen: dict[int, Tensor] = field(default_factory=dict)
    of_layer: dict[int, LayerSinks] = field(default_factory=dict)

    def lacks(self, layer: int) -> bool:
        """Whether columns of the prompt have not been seen in a layer."""
        return layer not in self.seen or self.seen[layer].shape[1] < self.width

    def go_on(self, spans: Sequence[TokenSpans], cached: int) -> Sinks:
        """Those of prompts that begin with this one, which is a single row.

        Args:
            spans: of the prompts.
            cached: columns that they do not run again, of their padding and of this one.
        """
        found = Sinks(spans[0].output_column, [*self.dims] * len(spans))
        for layer, seen in self.seen.items():
            rows = seen.new_zeros(len(spans), cached)
            for row, of_row in zip(rows, spans, strict=True):
                row[of_row.pad :] = seen[0, : cached - of_row.pad]
            found.seen[layer] = rows
        return found

    def note(self, states: Tensor, context: AttentionContext, tau: float) -> None:
        """Find a layer's sinks in what enters it, (B, q, d), in the columns that it lacks."""
        before = self.seen.get(context.layer)
        known = 0 if before is None else before.shape[1]
        rows = slice(known - context.first_query_column, self.width - context.first_query_column)
        states = states[:, rows]
        longest = max(len(dims) for dims in self.dims)
        # Samples may have numbers of dimensions of their own: the first one fills up.
        filled = [[*dims, *dims[:1] * (longest - len(dims))] for dims in self.dims]
        index = torch.tensor(filled, device=states.device)[:, None].expand(-1, states.shape[1], -1)
        massive = _precise(states.gather(-1, index)).abs() / root_mean_square(states)
        sinks = massive.amax(-1) >= tau
        sinks &= context.query_positions[:, rows] >= 0
        if before is not None:
            sinks = torch.cat([before.to(sinks.device), sinks], dim=1)
        self.seen[context.layer] = sinks
        image = context.image_keys()[:, : sinks.shape[1]]
        visual = sinks & image
        has_visual = visual.any(-1)
        self.of_layer[context.layer] = LayerSinks(
            sinks[:, None, None],
            visual[:, None, None],
            (image & ~sinks)[:, None, None],
            has_visual[:, None, None, None],
            bool(has_visual.any()),
        )


def root_mean_square(states: Tensor) -> Tensor:
    """Over the dimensions of the residual stream, in float32 or better; (..., d) to (..., 1)."""
    return (_precise(states).square().mean(-1, keepdim=True) + EPSILON).sqrt()


def _precise(states: Tensor) -> Tensor:
    return states if states.dtype == torch.float64 else states.float()


def find_sink_dims(
    model: nn.Module | ModelAdapter, token: int | None = None, *, tau: float = 20.0
) -> tuple[int, ...]:
    """The dimensions in which sinks of a model have their massive activations.

    Those in which the first token of a sequence has at least tau times the root mean square of
    what enters a layer, in more than half of the layers. Open scopes do not act on this pass.

    Args:
        model: a transformers model that an adapter is registered for, or its adapter.
        token: id of that token: the first one of prompts as they are asked; by default the one
            that begins a text, by the model's configuration.
        tau: as for :class:`~lvlmsal.interventions.vissink.intervention.VisSink`.

    Returns:
        Indices in ascending order; none where the model has no massive activations.

    Raises:
        UnsupportedError: no token is given, and the configuration names none.

    >>> from lvlmsal.testing import tiny_model
    >>> find_sink_dims(tiny_model("llava"))  # random weights have none
    ()
    """
    adapter = model if isinstance(model, ModelAdapter) else adapter_for(model)
    token = getattr(adapter.text_config, "bos_token_id", None) if token is None else token
    if token is None:
        raise UnsupportedError(
            "this model's configuration names no token that begins a text: give the first token of "
            "its prompts, inputs['input_ids'][0, 0] where nothing is padded"
        )
    massive: list[Tensor] = []

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        size = _precise(states[0, 0]).abs() / root_mean_square(states[0, 0])
        massive.append((size >= tau).long().cpu())

    handles = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in adapter.layers]
    embeddings: Any = adapter.model.get_input_embeddings()
    ids = torch.tensor([[token]], device=embeddings.weight.device)
    try:
        with unedited(), torch.no_grad():
            adapter.decoder(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    often = torch.stack(massive).sum(0) * 2 > len(massive)
    return tuple(often.nonzero().flatten().tolist())
