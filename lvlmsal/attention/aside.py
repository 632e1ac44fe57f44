"""Passes that an edit runs for itself while the pass of its scope waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from lvlmsal.attention.editor import Bound
from lvlmsal.attention.passes import Passes
from lvlmsal.attention.place import ASIDE, Place


@contextmanager
def aside(
    edit: Bound | None, passes: Sequence[Passes], *, plain: bool = False, other_prompt: bool = False
) -> Iterator[None]:
    """Run passes on behalf of an edit, in which it does not act, and no logits are edited.

    Args:
        edit: the edit; None for a decoder, under which all edits but those of logits act.
        passes: of all open sessions: they go on afterwards where they stand.
        plain: whether no other edit of these sessions acts either.
        other_prompt: whether another prompt is run, to which spans that were given do not belong.
    """
    before = [(each.place, each.fixed_spans) for each in passes]
    resting = [other for each in passes for other in each.edits] if plain else [edit]
    token = ASIDE.set((*ASIDE.get(), *resting))
    for each in passes:
        each.place = Place()
        each.fixed_spans = None if other_prompt else each.fixed_spans
    try:
        with torch.no_grad():
            yield
    finally:
        ASIDE.reset(token)
        for each, (place, spans) in zip(passes, before, strict=True):
            each.place, each.fixed_spans = place, spans
