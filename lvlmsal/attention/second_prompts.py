"""The second prompt that an edit brings next to the first one."""

from __future__ import annotations

from transformers import Cache

from lvlmsal.attention.editor import LogitsEditor
from lvlmsal.attention.prompt import TWO_STREAMS, Prefill, Prompt
from lvlmsal.attention.second_stream import SecondStream
from lvlmsal.errors import UnsupportedError


def bring_second(
    edit: LogitsEditor,
    prompt: Prompt,
    prefill: Prefill,
    *,
    taken: bool,
    cache: Cache | None = None,
) -> None:
    """Begin the second stream of an edit, where it has one.

    Args:
        edit: the edit.
        prompt: the first prompt.
        prefill: what is kept of it, the stream from now on.
        taken: whether another edit has brought one.
        cache: that holds the first columns of the second prompt, whose tokens are the first one's.

    Raises:
        UnsupportedError: there would be two.
    """
    inputs = edit.second_inputs(prompt) if cache is None else prompt.inputs
    if inputs is None:
        return
    if taken:
        raise UnsupportedError(TWO_STREAMS)
    model = prompt.adapter.model
    prefill.second = SecondStream(model, inputs, edit, prefill.width, cache)
