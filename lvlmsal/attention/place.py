"""Where the pass of a thread stands, and whether it is one that an edit runs for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import local
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import Columns
from lvlmsal.attention.editor import Bound, Editor
from lvlmsal.attention.key_gains import ScaledValues, scale_values
from lvlmsal.attention.pixels import EncodedImages
from lvlmsal.attention.prompt import Prefill
from lvlmsal.attention.second_stream import SecondStream
from lvlmsal.versions import CACHE


@dataclass
class Place:
    """The forward pass that runs.

    Attributes:
        prefill: what is known of its prompt; ``None`` where nothing is.
        cache: that it goes on from.
        past: columns before it.
        ids: that it was given, (B, q).
        offset: column of its first query; ``None`` where only its keys tell.
        columns: by device, number of rows and number of keys.
        carried: what layers leave for later ones.
        hidden: what entered layers, for edits of the logits.
        fed: what entered the feed-forward block that runs, where an edit reads it.
        runs: whether the pass has begun and not ended.
        kept: which rows the model turns into logits, as it was told.
        asked: whether a layer has asked what to do with its attention.
        scaled: values of the cache that are scaled while it runs, which stands for its edits.
        joined: the second stream whose rows run with it.
    """

    prefill: Prefill | None = None
    cache: Cache | None = None
    past: int = 0
    ids: Tensor | None = None
    offset: int | None = None
    columns: dict[tuple[torch.device, int, int], Columns] = field(default_factory=dict)
    carried: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    hidden: dict[int, Tensor] = field(default_factory=dict)
    fed: Tensor | None = None
    runs: bool = False
    kept: Tensor | int = 0
    asked: bool = False
    scaled: ScaledValues | None = None
    joined: SecondStream | None = None

    def scale(self, editor: Editor, num_layers: int) -> None:
        """Let an edit act by way of the values in the cache, where that is all that it takes."""
        if self.prefill is not None:
            spans = self.prefill.spans
            self.scaled = scale_values(editor, self.cache, self.ids, spans, num_layers)

    def join(self, kwargs: Mapping[str, Any], edits: Sequence[Editor]) -> dict[str, Any] | None:
        """What the model is given where the second stream's rows run with the pass that begins.

        Several run one after the other.

        Args:
            kwargs: of the pass.
            edits: that act on its attention. Those of the method that brings the second stream
                leave that alone.
        """
        seconds = {} if self.prefill is None else self.prefill.seconds
        second = next(iter(seconds.values())) if len(seconds) == 1 else None
        if second is None or any(edit is not second.owner for edit in edits):
            return None
        found = second.joins(self.cache, kwargs, is_edited=bool(edits))
        self.joined = None if found is None else second
        return found

    def passed(self, output: Any) -> None:
        """The pass is over: leave the output and the cache as those of the first stream."""
        self.unscale()
        if self.joined is not None and self.ids is not None:
            rows = len(self.ids)
            self.joined.joined(self.ids, output.logits[rows:])
            output.logits, self.joined = output.logits[:rows], None
            setattr(output, CACHE, self.cache)

    def unscale(self) -> None:
        """Leave the values in the cache as they were."""
        if self.scaled is not None:
            self.scaled.restore()
            self.scaled = None


class PerThread(local):
    """What the passes of one thread have to themselves; several may run in one scope at a time."""

    def __init__(self, spans: Sequence[TokenSpans] | None) -> None:
        self.place, self.fixed_spans = Place(), spans
        self.uncached: tuple[Prefill, int] | None = None
        self.images = EncodedImages()


ASIDE: ContextVar[tuple[Bound | None, ...]] = ContextVar("lvlmsal_aside", default=())
"""Edits that run passes of their own (a second stream, a look at the prompt): none acts there."""


def is_aside(edit: object = None) -> bool:
    """Whether a pass runs that an edit (any, if none is given) has started for itself."""
    running = ASIDE.get()
    return bool(running) if edit is None else any(edit is other for other in running)
