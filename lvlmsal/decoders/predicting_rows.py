"""The rows that predict the next tokens: their raw logits and what inner layers hold of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.place import is_aside
from lvlmsal.attention.prompt import Prompt


@dataclass(frozen=True)
class Rows:
    """Predicting rows, R of them.

    Attributes:
        logits: of the model, before edits of logits and processors, shape (R, V).
        states: what leaves each layer that is read, shape (R, D).
    """

    logits: Tensor
    states: Mapping[int, Tensor]

    def at(self, row: int) -> Rows:
        """One of them, in memory of its own."""
        states = {layer: held[row : row + 1].clone() for layer, held in self.states.items()}
        return Rows(self.logits[row : row + 1].clone(), states)

    def with_row(self, row: int, other: Rows) -> Rows:
        """The same with one row replaced."""
        logits = self.logits.clone()
        logits[row] = other.logits[0]
        states = {layer: held.clone() for layer, held in self.states.items()}
        for layer, held in states.items():
            held[row] = other.states[layer][0]
        return Rows(logits, states)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Those of several places one below the other."""
        layers = parts[0].states
        return cls(
            torch.cat([part.logits for part in parts]),
            {layer: torch.cat([part.states[layer] for part in parts]) for layer in layers},
        )


class RowWatcher:
    """An edit of hidden states that changes nothing and keeps the last row of each pass.

    What it keeps is of the edited pass: other edits of attention and hidden states act before it.
    Those of the logits do not reach it, for they say nothing about what the model holds of a word.

    Args:
        layers: whose outputs are kept.

    Attributes:
        passes: how many it has seen.
    """

    def __init__(self, layers: Sequence[int]) -> None:
        self.layers = frozenset(layers)
        self.passes = 0
        self._logits: Tensor | None = None
        self._states: dict[int, Tensor] = {}

    @property
    def rows(self) -> Rows:
        """Of the last pass."""
        assert self._logits is not None
        return Rows(self._logits, dict(self._states))

    @contextmanager
    def watching(self, adapter: ModelAdapter) -> Iterator[None]:
        """See the logits of this thread's passes before anybody edits them."""
        thread = get_ident()

        def keep(_module: object, _args: object, output: Any) -> None:
            if get_ident() == thread and not is_aside():
                self._logits = output.logits[:, -1].detach()
                self.passes += 1

        hook = adapter.model.register_forward_hook(keep, prepend=True)
        try:
            yield
        finally:
            hook.remove()

    @property
    def is_identity(self) -> bool:
        """Whether there is nothing to keep."""
        return not self.layers

    def bind(self, num_layers: int) -> RowWatcher:
        """Itself: its layers are known."""
        return self

    def applies_to(self, layer: int) -> bool:
        """Whether a layer is read."""
        return layer in self.layers

    def prepare(self, prompt: Prompt) -> None:
        """Nothing is kept of a prompt."""

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Unchanged."""
        return states

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Unchanged, and the last row is kept; second streams are passes of another prompt."""
        if not is_aside():
            self._states[context.layer] = states[:, -1].detach()
        return states
