"""Passes of a model as it is, whatever scopes are open around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import get_ident

from lvlmsal.attention.aside import aside
from lvlmsal.attention.passes import Passes
from lvlmsal.attention.scopes import acting, alone


@contextmanager
def unedited() -> Iterator[None]:
    """Passes in this block run without gradients and without the edits of any open scope.

    For a look at the model itself from inside of an intervention's ``prepare``, and for a thread
    that uses a model on which another thread has a scope open. The scopes go on afterwards where
    they stood.

    >>> from lvlmsal.attention import intervene
    >>> from lvlmsal.interventions.locore import LocoRE
    >>> from lvlmsal.testing import tiny_inputs, tiny_model
    >>> model, inputs = tiny_model("llava"), tiny_inputs("llava")
    >>> with intervene(model, LocoRE(beta=1.0)):
    ...     edited = model(**inputs).logits
    ...     with unedited():
    ...         plain = model(**inputs).logits
    >>> bool((plain == model(**inputs).logits).all()), bool((plain == edited).all())
    (True, False)
    """
    sessions = acting()
    passes = [session.passes for session in sessions]
    edits = {
        id(edit): edit
        for session in sessions
        for edit in (*session.editors, *session.layer_editors, *session.logits_editors)
    }
    with ExitStack() as stack:
        stack.enter_context(alone())
        for each in passes:
            stack.enter_context(_resting(each))
        for edit in edits.values():
            stack.enter_context(aside(edit, passes))
        yield


@contextmanager
def _resting(passes: Passes) -> Iterator[None]:
    """Passes of this thread are plain; an edited ``generate`` around them goes on behind."""
    was_edited = get_ident() in passes.edited
    passes.plain()
    try:
        yield
    finally:
        if was_edited:
            passes.edited.add(get_ident())
