"""The second prompt that an edit brings next to the first one, or several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import Cache

from lvlmsal.attention.editor import Bindable, LogitsEditor
from lvlmsal.attention.prompt import TWO_STREAMS, Prefill, Prompt
from lvlmsal.attention.second_stream import ONLY, Scope, SecondStream
from lvlmsal.errors import UnsupportedError


def bring_second(
    edit: LogitsEditor,
    prompt: Prompt,
    prefill: Prefill,
    scope: Scope,
    *,
    taken: bool = False,
    cache: Cache | None = None,
) -> None:
    """Begin the second streams of an edit, where it has any.

    Args:
        edit: the edit.
        prompt: the first prompt.
        prefill: what is kept of it, the streams from now on.
        scope: makes the scope of the edits that act in one of them alone.
        taken: whether an edit of another scope has brought one.
        cache: that holds the first columns of the second prompt, whose tokens are the first one's.

    Raises:
        UnsupportedError: another edit has brought one, or edits of its own edit logits.
    """
    found = edit.second_inputs(prompt) if cache is None else prompt.inputs
    if not found:
        return
    if taken or prefill.seconds:
        raise UnsupportedError(TWO_STREAMS)
    # One that begins with columns of a shared prefix has none; see shared_prefix.can_share.
    own = edit.second_edits(prompt) if cache is None else ()
    named: Mapping[str, Any] = {ONLY: found} if "input_ids" in found else found
    for name, inputs in named.items():
        edits = own.get(name, ()) if isinstance(own, Mapping) else own
        _check(edit, edits)
        model, acting = prompt.adapter.model, scope(edits) if edits else None
        stream = SecondStream(model, inputs, edit, prefill.width, cache, acting)
        prefill.seconds[name] = stream


def _check(edit: LogitsEditor, edits: Sequence[Bindable]) -> None:
    for each in edits:
        if isinstance(each, LogitsEditor):
            raise UnsupportedError(
                f"second_edits of {type(edit).__name__} holds {type(each).__name__}, which edits "
                "logits: combine the logits of both streams in logits()"
            )
