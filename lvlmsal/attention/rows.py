"""Edits of the logits of rows that predict generated tokens, beside a second stream."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from lvlmsal.attention.editor import LogitsEditor
from lvlmsal.attention.logits import LogitsContext
from lvlmsal.attention.passes import Passes, aside, check_batch
from lvlmsal.attention.prompt import Prefill, follow
from lvlmsal.attention.tape import Tape
from lvlmsal.errors import UnsupportedError
from lvlmsal.streams import Stream


def edit_logits(
    output: Any,
    editors: Sequence[LogitsEditor],
    passes: Passes,
    others: Sequence[Passes],
    tape: Tape | None,
) -> None:
    """Edit what a pass predicts, in float32 or better.

    Rows of the prompt before its last one stay as they are: nothing is chosen from them. A recorded
    pass keeps its raw logits, from which losses are taken; what the edits make of them goes to the
    tape, unless that is one of a full graph, after which nothing is chosen.

    Args:
        output: of the model, with ``logits`` (B, r, V).
        editors: in the order in which they act.
        passes: of this session.
        others: of all open sessions.
        tape: of a recorded pass.

    Raises:
        UnsupportedError: the prompt of the pass was not seen, or it cannot be told which rows of
            the sequence the logits belong to.
    """
    place = passes.place
    prefill, ids = place.prefill, place.ids
    if tape is not None and tape.full:
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
    if len({spans.pad + spans.output_start for spans in prefill.spans}) > 1:
        raise UnsupportedError(
            "logits can be edited only where the prompts of a batch end in the same column: pad "
            "prompts at the left and answers at the right"
        )
    logits: Tensor = output.logits
    if tape is not None:
        logits = logits.detach() if tape.edited_logits is None else tape.edited_logits
    first = place.past + ids.shape[1] - logits.shape[1] - (prefill.width - 1)
    skipped = max(0, -first)
    count = logits.shape[1] - skipped
    if count < 1:
        return
    tail = logits[:, skipped:]
    tail = tail if tail.dtype == torch.float64 else tail.float()
    hidden = {layer: states[:, -count:] for layer, states in place.hidden.items()}
    # What was recorded for a loss ends at the raw logits: no graph through the edits.
    with nullcontext() if tape is None else torch.no_grad():
        for editor in editors:
            second = _second_logits(editor, passes, others, prefill, count)
            context = LogitsContext(
                passes.adapter, prefill.spans, first + skipped, second, hidden, prefill.states
            )
            tail = editor.logits(tail, context)
    edited = torch.cat([logits[:, :skipped].to(tail), tail], dim=1) if skipped else tail
    if tape is None:
        output.logits = edited
    else:
        tape.edited_logits = edited


def _second_logits(
    editor: LogitsEditor,
    passes: Passes,
    others: Sequence[Passes],
    prefill: Prefill,
    count: int,
) -> Tensor | None:
    """What the second stream predicts for the last rows of the pass, (B, count, V).

    Raises:
        UnsupportedError: the stream lacks tokens that the first one has.
    """
    if prefill.ids is None and getattr(editor, "has_second_stream", False):
        raise UnsupportedError(
            f"{type(editor).__name__} has not seen the prompt of this cache: run the prompt inside "
            "of the same intervene(...) scope"
        )
    if prefill.second is None or prefill.second[0] is not editor:
        return None
    place = passes.place
    assert place.ids is not None
    generated = place.past + place.ids.shape[1] - prefill.width
    if prefill.stream is None and generated > place.ids.shape[1]:
        raise UnsupportedError(
            f"{type(editor).__name__} has not seen all tokens behind the prompt of this cache: run "
            "the prompt anew, inside of this intervene(...) scope"
        )
    with aside(editor, others, other_prompt=True):
        if place.cache is not None and prefill.stream is not None:
            return prefill.stream.commit(place.ids)[:, -count:]
        stream = Stream.of(passes.adapter.model, prefill.second[1])
        found = stream.prefill()[:, None]
        if place.cache is not None:
            prefill.stream = stream
            follow(place.cache, stream)
        if generated:
            # without a cache, the whole sequence is run again in each pass
            later = stream.commit(place.ids[:, -generated:])
            found = torch.cat([found, later], dim=1)
        return found[:, -count:]
