"""Where the pass of a thread stands, and passes aside of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import local
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import Cache

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import Columns
from lvlmsal.attention.editor import Bound
from lvlmsal.attention.pixels import EncodedImages
from lvlmsal.attention.prompt import Prefill

if TYPE_CHECKING:
    from lvlmsal.attention.passes import Passes


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
        runs: whether the pass has begun and not ended.
        kept: which rows the model turns into logits, as it was told.
        asked: whether a layer has asked what to do with its attention.
    """

    prefill: Prefill | None = None
    cache: Cache | None = None
    past: int = 0
    ids: Tensor | None = None
    offset: int | None = None
    columns: dict[tuple[torch.device, int, int], Columns] = field(default_factory=dict)
    carried: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    hidden: dict[int, Tensor] = field(default_factory=dict)
    runs: bool = False
    kept: Tensor | int = 0
    asked: bool = False


class PerThread(local):
    """What the passes of one thread have to themselves; several may run in one scope at a time."""

    def __init__(self, spans: Sequence[TokenSpans] | None) -> None:
        self.place, self.fixed_spans = Place(), spans
        self.uncached: tuple[Prefill, int] | None = None
        self.images = EncodedImages()


# Edits that run passes of their own (a second stream, a look at the prompt): they do not act there.
_ASIDE: ContextVar[tuple[Bound, ...]] = ContextVar("lvlmsal_aside", default=())


def is_aside(edit: object = None) -> bool:
    """Whether a pass runs that an edit (any, if none is given) has started for itself."""
    running = _ASIDE.get()
    return bool(running) if edit is None else any(edit is other for other in running)


@contextmanager
def aside(
    edit: Bound, passes: Sequence[Passes], *, plain: bool = False, other_prompt: bool = False
) -> Iterator[None]:
    """Run passes on behalf of an edit, in which it does not act, and no logits are edited.

    Args:
        edit: the edit.
        passes: of all open sessions: they go on afterwards where they stand.
        plain: whether no other edit of these sessions acts either.
        other_prompt: whether another prompt is run, to which spans that were given do not belong.
    """
    before = [(each.place, each.fixed_spans) for each in passes]
    resting = [other for each in passes for other in each.edits] if plain else [edit]
    token = _ASIDE.set((*_ASIDE.get(), *resting))
    for each in passes:
        each.place = Place()
        each.fixed_spans = None if other_prompt else each.fixed_spans
    try:
        with torch.no_grad():
            yield
    finally:
        _ASIDE.reset(token)
        for each, (place, spans) in zip(passes, before, strict=True):
            each.place, each.fixed_spans = place, spans
