"""The scope in which a model is edited or recorded, and nothing outside of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.arguments import LastColumn, check_no_weights
from lvlmsal.attention.asked import Asked
from lvlmsal.attention.editor import Bindable, Editor, InLayer, LogitsEditor, fitted
from lvlmsal.attention.hooks import (
    Hook,
    before_others,
    hold,
    release,
    resume_compiled,
    suspend_compiled,
    watch_layer,
)
from lvlmsal.attention.logits_edits import edit_logits
from lvlmsal.attention.looks import look
from lvlmsal.attention.passes import Passes
from lvlmsal.attention.pixels import watch_encoders
from lvlmsal.attention.place import is_aside
from lvlmsal.attention.recording import Recording, frozen
from lvlmsal.attention.scopes import (
    acting,
    around,
    begin_alone,
    check_it_acted,
    enter,
    generates,
    join,
    knows,
    leave,
    open_passes,
)
from lvlmsal.attention.training import check_mode
from lvlmsal.errors import UnsupportedError
from lvlmsal.versions import CACHE


class AttentionSession:
    """Applies interventions to a model while it is open, and records its attention.

    Use :func:`intervene` for interventions. Sessions nest: the edits of all open ones are applied,
    outermost first. Whatever ends the ``with`` block, the model is left as it was: no hook, no
    changed attention implementation, no patched method.

    Args:
        model: a transformers model that an adapter is registered for, or its adapter.
        interventions: in the order in which they act.
        spans: the samples' spans where the session cannot read them off ``input_ids`` at prefill,
            or where generated tokens are part of the input (teacher forcing).
        asked: the batch of ``generate`` in this scope, where it is known; without it pixels are
            taken from calls of the model's image encoder, and the raw images are not known.
        records: whether :meth:`record` may be called; if not, identities switch nothing.
        edits_logits: whether logits are edited too, which says nothing about where a token looked.
        shared: whether it acts in threads, too, that know of no session of their own.

    Raises:
        UnsupportedError: no adapter for the model's architecture, two second streams, a pass that
            cannot be edited, or a block that ends without one although there are edits.
    """

    def __init__(
        self,
        model: nn.Module | ModelAdapter,
        interventions: Sequence[Bindable] = (),
        *,
        spans: Sequence[TokenSpans] | None = None,
        asked: Asked | None = None,
        records: bool = True,
        edits_logits: bool = True,
        shared: bool = False,
    ) -> None:
        self._asked = asked
        self.adapter = model if isinstance(model, ModelAdapter) else adapter_for(model)
        self.model: PreTrainedModel = self.adapter.model
        self.decoder = self.adapter.decoder
        depth = self.adapter.num_layers
        bound = [fitted(intervention, self.adapter) for intervention in interventions]
        active = [edit for edit in bound if not edit.is_identity]
        self.editors = [edit for edit in bound if isinstance(edit, Editor)]
        self.layer_editors = [edit for edit in active if isinstance(edit, InLayer)]
        acting_last = active if edits_logits else []
        self.logits_editors = [edit for edit in acting_last if isinstance(edit, LogitsEditor)]
        scope = partial(_aside, self.adapter)
        self.passes = Passes(
            self.adapter,
            active,
            spans,
            partial(look, self.adapter, scope),
            scope,
            open_passes,
            asked=asked,
            edits_logits=edits_logits,
        )
        self.recording: Recording | None = None
        self._last_column: LastColumn | None = None
        self.exits = {layer for edit in self.logits_editors for layer in edit.exits(depth)}
        if outside := sorted(self.exits - set(range(depth))):
            raise ValueError(f"exits {outside} are outside a model of {depth} layers")
        self._has_edits = bool(active)
        self._holds = records or any(not edit.is_identity for edit in self.editors)
        self._modules = {id(module): i for i, module in enumerate(self.adapter.attention_modules)}
        self._undo: ExitStack | None = None
        self.shared = shared and self._has_edits
        self.thread, self.told = 0, False
        self.joined: tuple[AttentionSession, ...] = ()

    def __enter__(self) -> AttentionSession:
        if self._undo is not None:
            raise RuntimeError("this session is open already: make a new one for a nested scope")
        layers = range(self.adapter.num_layers)
        edits = [[edit for edit in self.layer_editors if edit.applies_to(i)] for i in layers]
        self._asks = any(
            edit.applies_to(layer)
            for edit in self.editors
            if not edit.is_identity
            for layer in layers
        )
        self.joined = around(self)
        self.thread, self.told = get_ident(), False
        with ExitStack() as undo:  # of what is done until something fails
            if self._holds:
                undo.callback(release, self.adapter, hold(self.adapter))
            suspend_compiled()
            undo.callback(resume_compiled)
            undo.callback(self.passes.close)

            def add(register: Callable[..., Any], hook: Callable[..., Any], **how: bool) -> None:
                undo.callback(register(Hook(self.adapter, self._acts, hook), **how).remove)

            add(self.model.register_forward_pre_hook, self._begin, with_kwargs=True)
            if self._has_edits:
                if self._asked is None:
                    undo.callback(watch_encoders(self.model, self._note_images))
                add(self.model.register_forward_hook, self._finish)
                add(self.model.register_forward_hook, self.passes.end, always_call=True)
            for layer in layers:
                watched = watch_layer(layer, edits[layer], self.passes, keeps=layer in self.exits)
                for module, register, hook in watched:
                    add(getattr(module, register), hook, with_kwargs=True)
                    before_others(module)
            self._undo = undo.pop_all()
        enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        leave(self)
        undo, self._undo = self._undo, None
        if undo is None:
            return
        goes_on = kind is None and generates(self)
        try:
            undo.close()  # all of it, even where a part fails
        except Exception as failed:
            if error is None:
                raise
            error.add_note(f"and the end of the scope failed: {type(failed).__name__}: {failed}")
        if kind is None and self._has_edits and not is_aside():
            check_it_acted(self, goes_on=goes_on)

    def _acts(self) -> bool:
        """Whether hooks act in this thread, or are asleep as it is outside of the scope."""
        acts = self in acting()
        if not acts:
            self.passes.plain()
        return acts

    def _note_images(self, given: Mapping[str, Any], output: Any) -> None:
        """Images were encoded; within a pass their pixels are among the arguments of that."""
        if self._acts() and not self.passes.place.runs:
            self.passes.images.note(given, output)

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """A pass of the model begins."""
        self.passes.met()
        if module is not self.model:
            raise UnsupportedError(
                "a scope acts on the model that it was given, and this is a copy of it that shares "
                "its hooks, such as DataParallel makes for each device: use one process for each "
                "device, or load the model with device_map"
            )
        if not knows(self):
            join(self)
        if self._holds:
            # Nobody reads those of the library's own passes.
            configs = (self.model.config, self.adapter.text_config) if self.shared else ()
            check_no_weights(kwargs.get("output_attentions"), configs)
        if self.recording is not None and not is_aside():
            self.recording.clear()
        self.passes.begin(module, args, kwargs)
        return begin_alone(self, args, kwargs)

    @property
    def is_open(self) -> bool:
        """Whether the session is inside its ``with`` block."""
        return self._undo is not None

    @contextmanager
    def record(self, layers: Sequence[int], *, full: bool = False) -> Iterator[Recording]:
        """Record the last forward pass of this block; see `attention.recording.Recording`.

        Raises:
            UnsupportedError: under ``torch.inference_mode``, which knows no gradients, and in
                training mode with dropout or gradient checkpointing.
        """
        check_mode(self.adapter, recorded=True)
        with frozen(self.model):
            self.recording = Recording(tuple(layers), full=full)
            try:
                yield self.recording
            finally:
                self.recording = None

    @contextmanager
    def watching_last_column(self) -> Iterator[LastColumn]:
        """See whether earlier rows of a pass in this block see its last column."""
        self._last_column = LastColumn()
        try:
            yield self._last_column
        finally:
            self._last_column = None

    def note_mask(self, module: nn.Module, mask: Tensor | None, *, causal: bool) -> None:
        """Told of each attention call of several rows what they see."""
        if self._last_column is not None and self.layer_of(module) is not None:
            self._last_column.note(mask, causal=causal)

    def use_spans(self, spans: Sequence[TokenSpans], cache: Cache) -> None:
        """Go by these spans in passes on a cache whose prefill this session has not seen."""
        self.passes.use_spans(spans, cache)

    def layer_of(self, module: nn.Module) -> int | None:
        """Index of one of this model's attention modules, ``None`` for any other module."""
        return self._modules.get(id(module))

    def begin_pass(self, config: object, offset: int, kv_offset: int) -> None:
        """Told by the mask function, once per forward pass, at which column the queries start."""
        if config is not self.adapter.text_config:
            return
        if kv_offset and (self.editors or self.recording):
            raise UnsupportedError(
                "this pass runs on a sliding-window cache, whose columns are no longer the "
                f"sequence's: pass {CACHE}=transformers.DynamicCache() to generate"
            )
        self.passes.starts_at(offset)

    def _finish(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.passes.place.passed(output)
        if self._asks and not self.passes.place.asked:
            raise UnsupportedError(
                f"the attention of this {type(self.model).__name__} is not computed by way of "
                "transformers' AttentionInterface, so it cannot be edited: load the checkpoint "
                "with the class that transformers itself has for it, without trust_remote_code"
            )
        if self.logits_editors and not is_aside():
            mine = [session for session in acting() if session.model is self.model]
            recording = next((s.recording for s in reversed(mine) if s.recording is not None), None)
            edit_logits(output, self.logits_editors, self.passes, open_passes(), recording)


def _aside(adapter: ModelAdapter, edits: Sequence[Bindable]) -> AttentionSession:
    """A scope for passes of which none chooses a token."""
    return AttentionSession(adapter, edits, records=False, edits_logits=False)
