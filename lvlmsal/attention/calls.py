"""What the attention function asks of the open sessions, and tells them, at each call."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.context import AttentionContext, check_batch
from lvlmsal.attention.editor import Editor
from lvlmsal.attention.place import is_aside
from lvlmsal.attention.recording import Recording
from lvlmsal.attention.scopes import acting
from lvlmsal.attention.training import check_mode
from lvlmsal.errors import UnsupportedError


@dataclass
class Pass:
    """One attention call, as the active sessions see it.

    Attributes:
        context: where it stands.
        editors: that act on it.
        recording: of the pass.
        adapter: of the model.
        samples: rows of the batch that are edited; behind them run those of a second stream.
    """

    context: AttentionContext
    editors: list[Editor]
    recording: Recording | None
    adapter: ModelAdapter
    samples: int

    def check_mode(self, module: nn.Module, dropout: float) -> None:
        """Refuse to edit or record the call where training mode would make it another one.

        Raises:
            UnsupportedError: dropout of the attention is on, or gradient checkpointing.
        """
        if dropout:
            raise UnsupportedError(
                f"this model drops attention weights at a rate of {dropout}, as it is in training "
                f"mode, which edits and recordings of attention do not: call model.eval() first"
            )
        memo = self.context.memo
        # where a pass is recorded, record() has looked
        if module.training and self.recording is None and ("mode",) not in memo:
            check_mode(self.adapter, recorded=False)
            memo["mode",] = True


def active_pass(
    module: nn.Module, batch: int, rows: int, keys: int, device: torch.device
) -> Pass | None:
    """What the open sessions want of one attention call; ``None`` where they want nothing."""
    found = [
        (session, layer) for session in acting() if (layer := session.layer_of(module)) is not None
    ]
    done = False  # by way of the cache
    for session, _ in found:
        place = session.passes.place
        place.asked = True
        done = done or place.scaled is not None
        if place.joined is not None and place.ids is not None:
            batch = len(place.ids)
        session.passes.met()  # layers that are run by themselves, perhaps
    if done:
        return None
    editors = [edit for session, _ in found for edit in session.editors if not is_aside(edit)]
    recording = next(
        (session.recording for session, _ in reversed(found) if session.recording is not None), None
    )
    recording = None if is_aside() else recording
    if not editors and recording is None:
        return None
    session, layer = found[-1]
    # Those that were given win over those that a session read off the ids.
    known = [s.passes for s, _ in reversed(found) if s.passes.spans is not None]
    fixed = (passes.spans for passes in known if passes.fixed_spans)
    spans = next(fixed, known[0].spans if known else None)
    if spans is None and editors:
        raise UnsupportedError(
            "no input_ids were passed to the model, so the image tokens cannot be found: "
            "give their places with intervene(model, ..., spans=[...])"
        )
    if spans is not None:
        check_batch(spans, batch)
    level = recording is not None and recording.side_by_side
    columns = session.passes.columns(rows, keys, device, level=level)
    prefills = [s.passes.place.prefill for s, _ in found]
    states = {k: v for p in prefills if p is not None for k, v in p.states.items()}
    context = session.passes.context(layer, columns, spans or (), states)
    return Pass(context, editors, recording, session.adapter, batch)


def note_mask(module: nn.Module, mask: Tensor | None, *, causal: bool) -> None:
    """Tell every open session what the rows of an attention call see."""
    for session in acting():
        session.note_mask(module, mask, causal=causal)


def note_offset(config: object, offset: int, kv_offset: int) -> None:
    """Tell every open session where a forward pass of the given text config starts."""
    for session in acting():
        session.begin_pass(config, offset, kv_offset)
