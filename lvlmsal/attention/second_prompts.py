"""The second prompt that an edit brings next to the first one, or several of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lvlmsal.attention.editor import Bindable, LogitsEditor
from lvlmsal.attention.prompt import TWO_STREAMS, Prefill, Prompt
from lvlmsal.attention.second_stream import ONLY, Scope, SecondStream
from lvlmsal.attention.stream import Stream
from lvlmsal.errors import UnsupportedError


def bring_second(
    edit: LogitsEditor,
    prompt: Prompt,
    prefill: Prefill,
    scope: Scope,
    *,
    taken: bool = False,
    starts: Mapping[str, Callable[[], Stream] | None] | None = None,
) -> None:
    """Begin the second streams of an edit, where it has any.

    Args:
        edit: the edit.
        prompt: the first prompt.
        prefill: what is kept of it, the streams from now on.
        scope: makes the scope of the edits that act in one of them alone.
        taken: whether an edit of another scope has brought one.
        starts: of prompts that begin alike, the names of their second streams, and what makes each
            behind columns that were run; ``None`` for one that is run as a whole.

    Raises:
        UnsupportedError: another edit has brought one, or edits of its own edit logits.
    """
    needed = starts is None or None in starts.values()
    found = edit.second_inputs(prompt) if needed else None
    named: dict[str, Any] = {}
    if found:
        named = {ONLY: found} if "input_ids" in found else dict(found)
    if starts is not None:
        named = {name: named.get(name) for name in starts}
    if not named:
        return
    if taken or prefill.seconds:
        raise UnsupportedError(TWO_STREAMS)
    own = edit.second_edits(prompt) if needed else ()
    for name, inputs in named.items():
        start = None if starts is None else starts[name]
        edits = own.get(name, ()) if isinstance(own, Mapping) else own
        edits = edits if start is None else ()
        _check(edit, edits)
        model, acting = prompt.adapter.model, scope(edits) if edits else None
        prefill.seconds[name] = SecondStream(
            model, inputs or {}, edit, prefill.width, start=start, scope=acting
        )


def _check(edit: LogitsEditor, edits: Sequence[Bindable]) -> None:
    for each in edits:
        if isinstance(each, LogitsEditor):
            raise UnsupportedError(
                f"second_edits of {type(edit).__name__} holds {type(each).__name__}, which edits "
                "logits: combine the logits of both streams in logits()"
            )
