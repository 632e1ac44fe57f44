"""Which scopes are open, and in which threads they act."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import Cache

from lvlmsal.attention.cache import RecordingCache
from lvlmsal.attention.passes import Passes
from lvlmsal.attention.place import is_aside
from lvlmsal.errors import UnsupportedError

if TYPE_CHECKING:
    from lvlmsal.attention.session import AttentionSession

_MINE: ContextVar[tuple[AttentionSession, ...]] = ContextVar("lvlmsal_sessions", default=())
_PLAIN: ContextVar[bool] = ContextVar("lvlmsal_plain", default=False)
_SHARED: list[AttentionSession] = []
# Those of intervene(), of all threads. A thread (of a streamer, of a pool) starts with an empty
# context on Python 3.11, so it knows of no scope: passes there belong to these. Sessions that the
# library opens for itself stay in their own thread.


def acting() -> tuple[AttentionSession, ...]:
    """The open sessions that act in this thread, outermost first.

    Those of other threads do on models that no session of this thread is on.
    """
    mine = _mine()
    if _PLAIN.get():
        return mine
    own = {id(session.decoder) for session in mine}
    return (*mine, *(session for session in tuple(_SHARED) if id(session.decoder) not in own))


def open_passes() -> list[Passes]:
    """The passes of the sessions that act in this thread."""
    return [session.passes for session in acting()]


def edited(decoder: nn.Module) -> bool:
    """Whether an open scope edits passes of a decoder in this thread."""
    return any(other.passes.edits for other in acting() if other.decoder is decoder)


def begin_alone(
    session: AttentionSession, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Let edits act by cheaper ways in the pass that begins, where no other one needs its weights.

    An edit of attention acts by way of the values in the cache, a second stream as further rows.

    Returns:
        The arguments of the pass, where they change.
    """
    sessions = [other for other in acting() if other.decoder is session.decoder]
    if any(other.recording is not None for other in sessions):
        return None
    layers = range(session.adapter.num_layers)
    edits = [
        edit
        for other in sessions
        for edit in other.editors
        if any(map(edit.applies_to, layers)) and not is_aside(edit)
    ]
    place = session.passes.place
    if len(edits) == 1 and any(edit is edits[0] for edit in session.editors):
        place.scale(edits[0], len(layers))
    others = any(other is not session or other.layer_editors for other in sessions)
    if others or args or is_aside() or session.exits or _wants_more(session):
        return None
    joined = None if place.scaled else place.join(kwargs, edits)
    return None if joined is None else (args, joined)


def _wants_more(session: AttentionSession) -> bool:
    """Whether its configs let a model return more than logits, whose rows would be of both."""
    configs = (session.model.config, session.adapter.text_config)
    names = ("output_hidden_states", "output_attentions", "output_router_logits")
    return any(getattr(config, name, False) for config in configs for name in names)


def adopted(given: Cache | None, width: int) -> RecordingCache:
    """A recording cache in place of a given one, also for the scopes that know its prompt.

    Args:
        given: goes on from a prompt; none, or an empty one, begins with it.
        width: columns of the prompt.

    Raises:
        UnsupportedError: as :meth:`RecordingCache.adopt`.
    """
    cache = RecordingCache.adopt(given)
    if given is not None:
        for session in acting():
            session.passes.adopt(given, cache, width)
    return cache


def _mine() -> tuple[AttentionSession, ...]:
    return tuple(session for session in _MINE.get() if session.is_open)


def around(session: AttentionSession) -> tuple[AttentionSession, ...]:
    """What a session that is about to be opened joins, of other threads.

    One of the library's own, opened by SGRS for instance, is within what acts on its model already.

    Raises:
        UnsupportedError: as :func:`join`.
    """
    if session.shared:
        return ()
    known = _mine()
    found = [other for other in acting() if other not in known and _on_same_model(other, session)]
    for other in found:
        join(other)
    return tuple(found)


def _on_same_model(one: AttentionSession, other: AttentionSession) -> bool:
    return one.decoder is other.decoder  # which models may share


def enter(session: AttentionSession) -> None:
    """List a session that has just been opened in this thread, and those that it has joined."""
    if session.shared:
        _SHARED.append(session)
    before = (known for known in _mine() if known is not session)  # closed in another context once
    _MINE.set((*before, *session.joined, session))


def leave(session: AttentionSession) -> None:
    """Strike a session off the lists; in whatever thread and context that is."""
    # No token of the ContextVar: a generator that is dropped may be closed in another context.
    gone = (session, *session.joined)
    _MINE.set(tuple(known for known in _MINE.get() if known not in gone))
    session.joined = ()
    if session in _SHARED:
        _SHARED.remove(session)


def join(session: AttentionSession) -> None:
    """Let a session act in a thread that does not know of it.

    Raises:
        UnsupportedError: it cannot be told whether it was meant to.
    """
    kind = type(session.model).__name__
    owners = {other.thread for other in tuple(_SHARED) if _on_same_model(other, session)}
    if len(owners) > 1:
        raise UnsupportedError(
            f"intervene(...) scopes of {len(owners)} threads are open on this {kind}, and this "
            "thread belongs to none of them: start it with "
            "Thread(target=contextvars.copy_context().run, args=(...)) inside of the scope that is "
            "meant, or run its passes under lvlmsal.attention.unedited()"
        )
    if session.thread != threading.get_ident() and session.passes.runs_in(session.thread):
        raise UnsupportedError(
            f"this thread runs a pass of a {kind} while the thread that opened an intervene(...) "
            "scope on it runs another, so it cannot be told whether the scope is meant here: start "
            "this thread with Thread(target=contextvars.copy_context().run, args=(...)) inside of "
            "the scope, or run its passes under lvlmsal.attention.unedited()"
        )
    if not session.told:
        session.told = True
        warnings.warn(
            f"a thread that knows of no scope runs a {kind} on which another thread has opened an "
            "intervene(...) scope: the interventions act there too. For plain passes use "
            "lvlmsal.attention.unedited(); to say that the scope is meant, start the thread with "
            "Thread(target=contextvars.copy_context().run, args=(...))",
            UserWarning,
            stacklevel=2,
        )


@contextmanager
def alone() -> Iterator[None]:
    """Keep scopes of other threads out of this one."""
    before = _PLAIN.get()
    _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.set(before)


def knows(session: AttentionSession) -> bool:
    """Whether a session was opened in this thread's context, or handed over to it."""
    return session in _MINE.get()


def generates(session: AttentionSession) -> bool:
    """Whether another thread is in the middle of a ``generate`` in which a session has acted."""
    others = session.passes.edited - {threading.get_ident()}
    stacks = sys._current_frames() if others else {}
    return any(_decodes(stacks.get(thread), session) for thread in others)


def _decodes(frame: FrameType | None, session: AttentionSession) -> bool:
    while frame is not None:
        decodes = frame.f_code.co_name in ("generate", "_call_impl")
        if decodes and frame.f_locals.get("self") is session.model:
            return True
        frame = frame.f_back
    return False


def check_it_acted(session: AttentionSession, *, goes_on: bool) -> None:
    """Refuse to end in silence where nothing was edited, or not all of an answer.

    Args:
        session: that has just been closed, and was to edit something.
        goes_on: whether a thread still generates.

    Raises:
        UnsupportedError: it met no pass, or not all of them.
    """
    names = ", ".join(type(edit).__name__ for edit in session.passes.edits)
    kind = type(session.model).__name__
    if goes_on:
        raise UnsupportedError(
            f"the scope of {names} has ended while another thread was still generating with "
            f"this {kind}, so the rest of that answer is the plain model's: wait for the thread "
            "inside of the `with` block, thread.join()"
        )
    if not session.passes.threads:
        raise UnsupportedError(
            f"the scope of {names} has ended without one pass of its {kind}, so nothing was "
            "edited: call generate, or the model, inside of the `with` block, and on the very "
            "model that was handed to intervene(...) (no copy of it, in this process)"
        )
