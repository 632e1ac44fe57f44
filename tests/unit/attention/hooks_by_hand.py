"""Edits of hidden states and logits that are easy to follow, and models run by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import AttentionContext
from lvlmsal.attention.cache import RecordingCache
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.layers import LayerSpec
from lvlmsal.attention.recording import Recording
from lvlmsal.interventions.base import HiddenStateIntervention, LogitsIntervention
from lvlmsal.testing.tiny import tiny_inputs


@dataclass(frozen=True)
class Shift(HiddenStateIntervention):
    """states * factor + term, before or after a layer."""

    factor: float = 1.0
    term: float = 0.0
    before: bool = False
    layers: LayerSpec = None

    @property
    def is_identity(self) -> bool:
        return self.factor == 1 and self.term == 0

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        return states * self.factor + self.term if self.before else states

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        return states if self.before else states * self.factor + self.term


@dataclass(frozen=True)
class Scale(LogitsIntervention):
    """logits * factor + term; keeps what it was told."""

    factor: float = 1.0
    term: float = 0.0
    read: tuple[int, ...] = ()
    seen: list[tuple[Tensor, LogitsContext]] | None = None

    @property
    def is_identity(self) -> bool:
        return self.factor == 1 and self.term == 0

    def exits(self, num_layers: int) -> Sequence[int]:
        return self.read

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        if self.seen is not None:
            self.seen.append((logits.clone(), context))
        return logits * self.factor + self.term


def text(**options: Any) -> dict[str, Tensor]:
    return tiny_inputs("llava", (0,), **options)


def run(model: PreTrainedModel, inputs: dict[str, Tensor], **kwargs: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(**inputs, **kwargs).logits
    return logits


def recording_cache(recording: Recording) -> RecordingCache:
    """The cache of a recorded pass."""
    cache = RecordingCache()
    cache.recording = recording
    return cache


def hooks_of(model: PreTrainedModel) -> int:
    modules = list(model.modules())
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def by_hand(
    model: PreTrainedModel,
    inputs: dict[str, Tensor],
    change: Callable[[Tensor], Tensor],
    layers: Sequence[int],
    *,
    before: bool,
) -> Tensor:
    """Logits of a model whose layers are wrapped, each by a forward of its own."""
    adapter = adapter_for(model)
    own = {layer: adapter.layers[layer].forward for layer in layers}

    def wrapped(layer: int) -> Callable[..., Any]:
        def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            if before:
                return own[layer](change(hidden_states), *args, **kwargs)
            return change(own[layer](hidden_states, *args, **kwargs))

        return forward

    try:
        for layer in layers:
            adapter.layers[layer].forward = wrapped(layer)  # type: ignore[method-assign]  # on purpose
        return run(model, inputs)
    finally:
        for layer in layers:
            del adapter.layers[layer].forward
