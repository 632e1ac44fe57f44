"""The scope that users open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.editor import Bindable
from lvlmsal.attention.session import AttentionSession
from lvlmsal.registry import INTERVENTIONS


def intervene(
    model: nn.Module | ModelAdapter,
    *interventions: Bindable,
    spans: Sequence[TokenSpans] | None = None,
) -> AttentionSession:
    """A ``with`` block in which interventions act on a plain transformers model.

    Works under the model's own ``generate`` (greedy, sampling, beam search) and under plain
    forwards, in batches and with left padding; spans are read off ``input_ids`` at each prefill.
    It also acts where ``generate`` runs in a thread or pool of its own, as streamers like it, and
    warns once that it does, for such a thread does not say whether it belongs to the scope. One
    that is started with ``Thread(target=contextvars.copy_context().run, args=(...))`` does; passes
    under :func:`~lvlmsal.attention.unedited.unedited` are plain. Wait for threads inside of the
    block. Compiled code runs uncompiled while a scope is open, for it would go past the edits.

    Args:
        model: any model with an adapter (``lvlmsal list adapters``), as it is or inside of a PEFT,
            ``torch.compile``, DataParallel or DDP wrapper, or ``lvlm.adapter``, which methods need
            that put another text into the prompt.
        *interventions: for instance ``LocoRE(beta=0.15)``; they act in this order.
        spans: give them where ``input_ids`` are not passed or hold generated tokens already.

    Raises:
        TypeError: something is no intervention; names are for ``lvlm.generate``.
        UnsupportedError: no adapter is registered for the model's architecture; at the end of the
            block, that no pass of the model was run in it, or that another thread still generates.

    >>> from lvlmsal.interventions.locore import LocoRE
    >>> from lvlmsal.testing import tiny_inputs, tiny_model
    >>> model, inputs = tiny_model("llava"), tiny_inputs("llava")
    >>> with intervene(model, LocoRE(beta=0.15)):
    ...     tokens = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    >>> tokens.shape[1] - inputs["input_ids"].shape[1]
    3
    """
    for given in interventions:
        if isinstance(given, type) or not hasattr(given, "bind"):
            raise TypeError(f"expected interventions one after the other, {_advice(given)}")
    return AttentionSession(model, interventions, spans=spans, records=False, shared=True)


def _advice(given: object) -> str:
    """What to write in place of something that is no intervention."""
    if isinstance(given, type):
        return f"got a class: write {given.__name__}()"
    name = given.get("name") if isinstance(given, Mapping) else given
    if isinstance(name, str) and name in INTERVENTIONS:
        cls = INTERVENTIONS.get(name).__name__
        return f"got {given!r}: write lvlmsal.interventions.{cls}(), with its options"
    return f"such as lvlmsal.LocoRE(beta=0.15); got {given!r}"
