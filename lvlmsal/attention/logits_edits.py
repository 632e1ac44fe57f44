"""Edits of the logits of rows that predict generated tokens, next to a second stream."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lvlmsal.attention.aside import aside
from lvlmsal.attention.context import LogitsContext, check_batch
from lvlmsal.attention.editor import LogitsEditor, returned
from lvlmsal.attention.passes import Passes
from lvlmsal.attention.recording import Recording
from lvlmsal.attention.second_stream import ONLY, follow
from lvlmsal.errors import UnsupportedError


def edit_logits(
    output: Any,
    editors: Sequence[LogitsEditor],
    passes: Passes,
    others: Sequence[Passes],
    recording: Recording | None,
) -> None:
    """Edit what a pass predicts, in float32 or better.

    Rows of the prompt before its last one stay as they are: nothing is chosen from them. A recorded
    pass keeps its raw logits, from which losses are taken; what the edits make of them goes to the
    recording, unless that is one of a full graph, after which nothing is chosen.

    What the model rules out stays so, whatever an edit makes of it: Chameleon gives its image
    tokens the lowest number that there is, and a contrast of two of these is no number.

    Args:
        output: of the model, with ``logits`` (B, r, V).
        editors: in the order in which they act.
        passes: of this session.
        others: of all open sessions.
        recording: of a recorded pass.

    Raises:
        UnsupportedError: the prompt of the pass was not seen, or it cannot be told which rows of
            the sequence the logits belong to.
    """
    place = passes.place
    prefill, ids = place.prefill, place.ids
    if recording is not None and recording.full:
        return
    if prefill is None or ids is None:
        raise UnsupportedError(
            "logits can be edited only where the prompt is known: hand input_ids to the model, and "
            "run the prompt inside of the same intervene(...) scope"
        )
    if isinstance(output, tuple) or isinstance(place.kept, Tensor):
        raise UnsupportedError(
            "logits can be edited only where the model returns those of its last rows under their "
            "name: drop return_dict=False, and give logits_to_keep as a number"
        )
    check_batch(prefill.spans, len(ids))
    if len({spans.output_column for spans in prefill.spans}) > 1:
        raise UnsupportedError(
            "logits can be edited only where the prompts of a batch end in the same column: pad "
            "prompts at the left and answers at the right"
        )
    logits: Tensor = output.logits
    if recording is not None:
        logits = logits.detach() if recording.edited_logits is None else recording.edited_logits
    first = place.past + ids.shape[1] - logits.shape[1] - (prefill.width - 1)
    skipped = max(0, -first)
    count = logits.shape[1] - skipped
    if count < 1:
        return
    tail = logits[:, skipped:]
    tail = tail if tail.dtype == torch.float64 else tail.float()
    # another scope may have made float32 of them before: the lowest of any dtype that it can be
    dtypes = {output.logits.dtype, passes.adapter.model.dtype, torch.bfloat16}
    ruled_out = tail <= max(torch.finfo(dtype).min for dtype in dtypes)
    hidden = {layer: states[:, -count:] for layer, states in place.hidden.items()}
    # Attention leaves things with the innermost scope, layers with their own.
    mine = [each for each in others if each.adapter.model is passes.adapter.model]
    carried = {key: left for each in mine for key, left in each.place.carried.items()}
    # What was recorded for a loss ends at the raw logits: no graph through the edits.
    with nullcontext() if recording is None else torch.no_grad():
        for editor in editors:
            context = LogitsContext(
                passes.adapter,
                prefill.spans,
                first + skipped,
                None,
                hidden,
                prefill.states,
                carried,
            )
            seconds = _second_logits(editor, passes, others, tail, context)
            context = replace(context, second=seconds.pop(ONLY, None), seconds=seconds)
            edited = returned(editor.logits(tail, context), tail, editor, "logits")
            tail = torch.where(ruled_out, tail, edited)
    edited = torch.cat([logits[:, :skipped].to(tail), tail], dim=1) if skipped else tail
    if recording is None:
        output.logits = edited
    else:
        recording.edited_logits = edited


def _second_logits(
    editor: LogitsEditor,
    passes: Passes,
    others: Sequence[Passes],
    tail: Tensor,
    context: LogitsContext,
) -> dict[str, Tensor]:
    """What each second stream predicts for the last rows of the pass, shape of ``tail``.

    Raises:
        UnsupportedError: a stream lacks tokens that the first one has.
    """
    place = passes.place
    assert place.prefill is not None
    assert place.ids is not None
    seconds = place.prefill.seconds
    if place.prefill.ids is None and getattr(editor, "has_second_stream", False):
        raise UnsupportedError(
            f"{type(editor).__name__} has not seen the prompt of this cache: run the prompt inside "
            "of the same intervene(...) scope"
        )
    seconds = {name: second for name, second in seconds.items() if second.owner is editor}
    if not seconds:
        return {}
    if place.cache is None:  # the whole sequence is run again in each pass
        seconds = {name: second.again() for name, second in seconds.items()}
    else:
        follow(place.cache, list(seconds.values()))
    for second in seconds.values():
        second.hear(place.ids, place.past)
    if not editor.wants_second(tail, context):
        for second in seconds.values():
            second.is_unwanted()
        return {}
    with aside(editor, others, other_prompt=True):
        return {name: second.logits(tail.shape[1]) for name, second in seconds.items()}
