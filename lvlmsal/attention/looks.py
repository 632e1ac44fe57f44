"""Looks at a prompt that edits ask for before it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.aside import aside
from lvlmsal.attention.editor import Bindable, Bound
from lvlmsal.attention.hooks import first_layers
from lvlmsal.attention.prompt import without_room
from lvlmsal.attention.scopes import open_passes
from lvlmsal.attention.second_stream import Scope
from lvlmsal.attention.stream import Stream, positions_kept
from lvlmsal.versions import without_cache


def look(
    adapter: ModelAdapter,
    scope: Scope,
    edit: Bound,
    kwargs: Mapping[str, Any],
    watchers: Sequence[Bindable],
    *,
    layers: int = 0,
    inputs: Mapping[str, Any] | None = None,
    plain: bool = False,
) -> None:
    """What ``Prompt.run`` does; see there.

    Args:
        adapter: of the model.
        scope: makes the scope of the watchers.
        edit: that looks.
        kwargs: of the prompt's own pass.
        watchers: edits that look on.
        layers: the first so many; 0 for all.
        inputs: of another prompt.
        plain: without other edits.
    """
    place = aside(edit, open_passes(), plain=plain, other_prompt=inputs is not None)
    with place, scope(watchers), positions_kept(adapter.model), first_layers(adapter, layers):
        if inputs is not None:
            Stream.of(adapter.model, inputs).prefill()
        else:
            given = {"use_cache": False, "logits_to_keep": 1}
            adapter.model(**{**without_room(without_cache(kwargs)), **given})
