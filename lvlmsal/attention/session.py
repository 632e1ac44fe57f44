"""The scope in which a model's attention is edited or recorded, and nothing outside of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import Cache, PreTrainedModel

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.attention.context import AttentionContext, Columns
from lvlmsal.attention.editor import Bindable, Editor
from lvlmsal.attention.tape import Tape
from lvlmsal.errors import UnsupportedError
from lvlmsal.spans import TokenSpans

ATTENTION_NAME = "lvlmsal"
"""Name of the attention and mask functions in transformers' interfaces."""


@dataclass
class Pass:
    """One attention call, as the active sessions see it."""

    context: AttentionContext
    editors: list[Editor]
    tape: Tape | None


_ACTIVE: ContextVar[tuple[AttentionSession, ...]] = ContextVar("lvlmsal_sessions", default=())
# How many sessions hold a text config on our attention function, and what it was before: the
# implementation lives on the config, sessions may nest and may end out of order.
_HELD: dict[int, tuple[int, str]] = {}


class AttentionSession:
    """Sends a model's text decoder through the library's attention function while it is open.

    Use :func:`intervene` for interventions. Sessions nest: the edits of all open ones are applied,
    outermost first. Whatever ends the ``with`` block, the model is left as it was: no hook, no
    changed attention implementation, no patched method.

    Args:
        model: a transformers model that an adapter is registered for.
        interventions: in the order in which they act.
        spans: the samples' spans where the session cannot read them off ``input_ids`` at prefill,
            or where generated tokens are part of the input (teacher forcing).
        recording: whether :meth:`record` may be called; if not, identities switch nothing.

    Raises:
        UnsupportedError: no adapter for the model's architecture, or a pass that cannot be edited.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        interventions: Sequence[Bindable] = (),
        *,
        spans: Sequence[TokenSpans] | None = None,
        recording: bool = True,
    ) -> None:
        self.adapter: ModelAdapter = adapter_for(model)
        self.model = model
        self.editors = [self._fitted(intervention) for intervention in interventions]
        self.spans = spans
        self.tape: Tape | None = None
        self._fixed_spans = spans is not None
        self._holds = recording or any(not editor.is_identity for editor in self.editors)
        self._spans_of: WeakKeyDictionary[Cache, Sequence[TokenSpans]] = WeakKeyDictionary()
        self._prompt: Tensor | None = None
        self._seen = 0
        self._modules = {id(module): i for i, module in enumerate(self.adapter.attention_modules)}
        self._hook: RemovableHandle | None = None
        self._offset: int | None = None
        self._columns: dict[torch.device, Columns] = {}

    def __enter__(self) -> AttentionSession:
        if self._hook is not None:
            raise RuntimeError("this session is open already: make a new one for a nested scope")
        if self._holds:
            self._hold()
        self._hook = self.model.register_forward_pre_hook(self._read_inputs, with_kwargs=True)
        # Sessions that were closed in another context are still listed in this one.
        _ACTIVE.set((*(session for session in _ACTIVE.get() if session.is_open), self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # No token of the ContextVar: a generator that is dropped may be closed in another context.
        _ACTIVE.set(tuple(session for session in _ACTIVE.get() if session is not self))
        if self._hook is None:
            return
        self._hook.remove()
        self._hook = None
        if self._holds:
            self._release()

    def _hold(self) -> None:
        config = self.adapter.text_config
        count, previous = _HELD.get(id(config), (0, config._attn_implementation))
        if count == 0:
            self.adapter.set_attention(ATTENTION_NAME)
        _HELD[id(config)] = (count + 1, previous)

    def _release(self) -> None:
        config = self.adapter.text_config
        count, previous = _HELD.pop(id(config))
        if count > 1:
            _HELD[id(config)] = (count - 1, previous)
        else:
            self.adapter.set_attention(previous)

    def _fitted(self, intervention: Bindable) -> Editor:
        editor = intervention.bind(self.adapter.num_layers)
        if not isinstance(editor, Editor):
            raise UnsupportedError(
                f"{type(intervention).__name__} does not edit attention: subclass "
                f"lvlmsal.interventions.AttentionIntervention"
            )
        return editor

    @property
    def is_open(self) -> bool:
        """Whether the session is inside its ``with`` block."""
        return self._hook is not None

    @contextmanager
    def record(self, layers: Sequence[int], *, full: bool = False) -> Iterator[Tape]:
        """Record the forward passes of this block; see :class:`~lvlmsal.attention.tape.Tape`.

        Raises:
            UnsupportedError: under ``torch.inference_mode``, which knows no gradients.
        """
        if torch.is_inference_mode_enabled():
            raise UnsupportedError(
                "saliency needs gradients, which torch.inference_mode() rules out: call it outside "
                "of it, or under torch.no_grad()"
            )
        # Trainable weights would start the graph at the bottom of the model.
        trainable = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.tape = Tape(tuple(layers), full=full)
        try:
            for weight in trainable:
                weight.requires_grad_(False)
            with torch.enable_grad():
                yield self.tape
        finally:
            self.tape = None
            for weight in trainable:
                weight.requires_grad_(True)

    def use_spans(self, spans: Sequence[TokenSpans], cache: Cache) -> None:
        """Go by these spans in passes on a cache whose prefill this session has not seen."""
        self._spans_of[cache] = spans

    def layer_of(self, module: nn.Module) -> int | None:
        """Index of one of this model's attention modules, ``None`` for any other module."""
        return self._modules.get(id(module))

    def begin_pass(self, config: object, offset: int, kv_offset: int) -> None:
        """Told by the mask function, once per forward pass, at which column the queries start."""
        if config is not self.adapter.text_config:
            return
        if kv_offset and (self.editors or self.tape):
            raise UnsupportedError(
                "this pass runs on a sliding-window cache, whose columns are no longer the "
                "sequence's: pass past_key_values=transformers.DynamicCache() to generate"
            )
        self._offset, self._columns = offset, {}

    def columns(self, rows: int, keys: int, device: torch.device) -> Columns:
        """The columns of the current pass."""
        if device not in self._columns:
            # Without a mask call (a model that was handed a ready mask) the keys end at the query.
            offset = keys - rows if self._offset is None else self._offset
            self._columns[device] = Columns(
                offset,
                torch.arange(offset, offset + rows, device=device),
                torch.arange(keys, device=device),
            )
        return self._columns[device]

    def _read_inputs(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """At each prefill, find the spans in the ids that the model is given."""
        cache = kwargs.get("past_key_values")
        past = 0 if cache is None else int(cache.get_seq_length())
        # For a pass that is handed a ready mask: the mask function will not be asked for one.
        self._offset, self._columns = None if cache is None else past, {}
        if self._fixed_spans:
            return
        if cache is not None and past > 0:
            # Methods with a second stream (guidance, contrast) alternate between caches.
            self.spans = self._spans_of.get(cache, self.spans)
            return
        input_ids = kwargs.get("input_ids", args[0] if args else None)
        if input_ids is None:
            self.spans = None
        elif cache is not None or not self._continues(input_ids):
            mask = kwargs.get("attention_mask")
            flat = mask if isinstance(mask, Tensor) and mask.dim() == 2 else None
            self.spans, self._prompt = self.adapter.spans(input_ids, flat), input_ids
            if cache is not None:
                self._spans_of[cache] = self.spans
        self._seen = 0 if input_ids is None else input_ids.shape[1]

    def _continues(self, input_ids: Tensor) -> bool:
        """Whether an uncached pass is the last one and one more token: decoding without a cache."""
        prompt = self._prompt
        if prompt is None or input_ids.shape[1] != self._seen + 1:
            return False
        return torch.equal(input_ids[:, : prompt.shape[1]], prompt)


def intervene(
    model: PreTrainedModel,
    *interventions: Bindable,
    spans: Sequence[TokenSpans] | None = None,
) -> AttentionSession:
    """A ``with`` block in which interventions act on a plain transformers model.

    Works under the model's own ``generate`` (greedy, sampling, beam search) and under plain
    forwards, in batches and with left padding; spans are read off ``input_ids`` at each prefill.
    It acts in the thread that opened it: to run ``generate`` in a thread of its own, as streamers
    like it, hand the scope over with ``Thread(target=contextvars.copy_context().run, args=(...))``.

    Args:
        model: any model with an adapter (``lvlmsal list adapters``).
        *interventions: for instance ``LocoRE(beta=0.15)``; they act in this order.
        spans: give them where ``input_ids`` are not passed or hold generated tokens already.

    Raises:
        UnsupportedError: no adapter is registered for the model's architecture.

    >>> from lvlmsal.interventions.locore import LocoRE
    >>> from lvlmsal.testing import tiny_inputs, tiny_model
    >>> model, inputs = tiny_model("llava"), tiny_inputs("llava")
    >>> with intervene(model, LocoRE(beta=0.15)):
    ...     tokens = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    >>> tokens.shape[1] - inputs["input_ids"].shape[1]
    3
    """
    return AttentionSession(model, interventions, spans=spans, recording=False)


def active_pass(
    module: nn.Module, batch: int, rows: int, keys: int, device: torch.device
) -> Pass | None:
    """What the open sessions want of one attention call; ``None`` where they want nothing."""
    found = [
        (session, layer)
        for session in _ACTIVE.get()
        if session.is_open and (layer := session.layer_of(module)) is not None
    ]
    editors = [editor for session, _ in found for editor in session.editors]
    tape = next((session.tape for session, _ in reversed(found) if session.tape is not None), None)
    if not editors and tape is None:
        return None
    session, layer = found[-1]
    # Those that were given win over those that a session read off the ids.
    known = [s for s, _ in reversed(found) if s.spans is not None]
    spans = next((s.spans for s in known if s._fixed_spans), known[0].spans if known else None)
    if spans is None and editors:
        raise UnsupportedError(
            "no input_ids were passed to the model, so the image tokens cannot be found: "
            "give their places with intervene(model, ..., spans=[...])"
        )
    if spans is not None and len(spans) != batch:
        raise UnsupportedError(f"spans of {len(spans)} samples were given for a batch of {batch}")
    columns = session.columns(rows, keys, device)
    context = AttentionContext(
        spans or (),
        columns.query,
        columns.key,
        layer,
        len(session._modules),
        first_query_column=columns.first,
        memo=columns.memo,
    )
    return Pass(context, editors, tape)


def note_offset(config: object, offset: int, kv_offset: int) -> None:
    """Tell every open session where a forward pass of the given text config starts."""
    for session in _ACTIVE.get():
        if session.is_open:
            session.begin_pass(config, offset, kv_offset)
