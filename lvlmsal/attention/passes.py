"""Where the forward pass that runs stands, and what is known of the prompt that it goes on from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import get_ident
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import Cache

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.pixels import TEXT
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.asked import Asked
from lvlmsal.attention.context import AttentionContext, Columns, check_batch
from lvlmsal.attention.editor import Bindable, Bound, LogitsEditor
from lvlmsal.attention.pixels import EncodedImages
from lvlmsal.attention.place import PerThread, Place, is_aside
from lvlmsal.attention.prompt import (
    Prefill,
    Prompt,
    check_no_images,
    continued,
    first_draft,
    prompt_inputs,
)
from lvlmsal.attention.second_prompts import bring_second
from lvlmsal.attention.second_stream import Scope, leave
from lvlmsal.errors import UnsupportedError
from lvlmsal.versions import CACHE, given_cache

Look = Callable[..., None]


class Passes:
    """The passes of one session, seen from its hooks.

    Args:
        adapter: of the model.
        edits: that change something.
        spans: fixed ones, where the ids do not tell.
        look: runs a prompt once more, for edits that want to see it first.
        scope: makes one for edits of a second stream.
        others: of all open sessions.
        asked: the batch, where whoever calls ``generate`` has handed it over.
        edits_logits: whether second streams are wanted.

    Attributes:
        threads: in which it was asked to begin a pass that was not one aside.
        edited: those of them whose last pass was such a one.
    """

    def __init__(
        self,
        adapter: ModelAdapter,
        edits: Sequence[Bound],
        spans: Sequence[TokenSpans] | None,
        look: Look,
        scope: Scope,
        others: Callable[[], Sequence[Passes]],
        *,
        asked: Asked | None,
        edits_logits: bool,
    ) -> None:
        self.adapter, self._others, self._given = adapter, others, spans
        self.asked, self._edits_logits = asked, edits_logits
        self.edits, self.look, self.scope = edits, look, scope
        self._of_cache: WeakKeyDictionary[Cache, Prefill] = WeakKeyDictionary()
        self._here = PerThread(spans)
        self._running: set[int] = set()
        self.threads: set[int] = set()
        self.edited: set[int] = set()

    @property
    def place(self) -> Place:
        """The pass that runs in this thread."""
        return self._here.place

    @place.setter
    def place(self, place: Place) -> None:
        self._here.place = place

    @property
    def fixed_spans(self) -> Sequence[TokenSpans] | None:
        """Those that were given, unless another prompt is run just now."""
        return self._here.fixed_spans

    @fixed_spans.setter
    def fixed_spans(self, spans: Sequence[TokenSpans] | None) -> None:
        self._here.fixed_spans = spans

    def runs_in(self, thread: int) -> bool:
        """Whether a pass runs in that thread just now."""
        return thread in self._running

    @property
    def spans(self) -> Sequence[TokenSpans] | None:
        """Of the pass that runs, or those that were given."""
        prefill = self.place.prefill
        return self.fixed_spans if prefill is None else prefill.spans

    def met(self) -> None:
        """A pass is about to begin, which may yet be refused."""
        if not is_aside():
            self.threads.add(get_ident())
            self.edited.add(get_ident())

    def plain(self) -> None:
        """This thread runs the model outside of the scope."""
        self.edited.discard(get_ident())

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A pass begins; at each prefill, find the spans in the ids that the model is given."""
        self.place.unscale()  # an interrupted pass has not ended
        if not is_aside():
            self._running.add(get_ident())
        cache = given_cache(kwargs)
        ids = kwargs.get("input_ids", args[0] if args else None)
        past = 0 if cache is None else int(cache.get_seq_length())
        # For a pass that is handed a ready mask: the mask function will not be asked for one.
        self.place = Place(None, cache, past, ids, None if cache is None else past, runs=True)
        self.place.kept = kwargs.get("logits_to_keep", 0)
        if cache is not None and past > 0:
            # Methods with a second stream (guidance, contrast) alternate between caches.
            self.place.prefill = self._of_cache.get(cache)
            if self.edits and self.place.prefill is not None:
                check_no_images(self.adapter, kwargs)
        elif ids is None:
            self._here.uncached = None
        elif cache is not None:
            leave(cache)  # by a stream of the prompt that it held before
            self._of_cache[cache] = self._prefill(ids, kwargs)
        elif is_aside():
            self._prefill(ids, kwargs)
        elif (going_on := continued(self._here.uncached, ids)) is not None:
            self.place.prefill, self._here.uncached = going_on, (going_on, ids.shape[1])
        else:
            self._here.uncached = self._prefill(ids, kwargs), ids.shape[1]

    @property
    def images(self) -> EncodedImages:
        """What was encoded in this thread before a pass."""
        return self._here.images

    def end(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """The pass is over, by an error perhaps; neither cache nor states are held any longer."""
        self.place.unscale()
        place, self.place = self.place, Place()
        if not is_aside():
            self._running.discard(get_ident())
        made = getattr(output, CACHE, None)
        if place.cache is None and place.prefill is not None and isinstance(made, Cache):
            self._of_cache[made] = place.prefill  # the model's own, for passes that go on from it

    def use_spans(self, spans: Sequence[TokenSpans], cache: Cache) -> None:
        """Go by these spans in passes on a cache whose prefill was not seen."""
        self._of_cache[cache] = Prefill(spans)

    def keep(self, cache: Cache, prefill: Prefill) -> None:
        """Go by what is known of prompts of which a cache holds the first columns."""
        self._of_cache[cache] = prefill

    def of_cache(self, cache: Cache) -> Prefill | None:
        """What is known of the prompt that a cache holds."""
        return self._of_cache.get(cache)

    def adopt(self, given: Cache, cache: Cache, width: int) -> None:
        """Let a cache stand for a given one, which was for a prompt of so many columns."""
        if (prefill := self._of_cache.get(given)) is not None and prefill.width == width:
            self._of_cache[cache] = prefill

    def starts_at(self, offset: int) -> None:
        """Told by the mask function at which column the queries start."""
        self.place.offset, self.place.columns, self.place.carried = offset, {}, {}

    def columns(self, rows: int, keys: int, device: torch.device, *, level: bool) -> Columns:
        """The columns of the current pass, whose rows are level with the first or behind it."""
        place = self.place
        # A static cache has more keys than there are columns so far: layers and attention differ.
        if (device, rows, keys) not in place.columns:
            memos = [known.memo for (where, *_), known in place.columns.items() if where == device]
            # Without a mask call (a model that was handed a ready mask) the keys end at the query.
            offset = keys - rows if place.offset is None else place.offset
            last = offset if level else keys
            place.columns[device, rows, keys] = Columns(
                offset,
                torch.arange(offset, offset + rows, device=device).clamp(max=last),
                torch.arange(keys, device=device).clamp(max=last),
                memo=memos[0] if memos else {},
                carried=place.carried,
            )
        return place.columns[device, rows, keys]

    @property
    def has_second_stream(self) -> bool:
        """Whether an edit has brought a second stream to the pass that runs."""
        return self.place.prefill is not None and bool(self.place.prefill.seconds)

    def layer_context(self, layer: int, states: Tensor) -> AttentionContext:
        """What edits of the residual stream (B, q, D) are told.

        Raises:
            UnsupportedError: the model was given no ids, or the cache's prompt was not seen.
        """
        prefill, rows = self.place.prefill, states.shape[1]
        if prefill is None:
            raise UnsupportedError(
                "the prompt of this pass was not seen: hand input_ids to the model, and run the "
                "prompt inside of the same intervene(...) scope"
            )
        check_batch(prefill.spans, len(states))
        columns = self.columns(rows, self.place.past + rows, states.device, level=False)
        return self.context(layer, columns, prefill.spans, prefill.states)

    def context(
        self,
        layer: int,
        columns: Columns,
        spans: Sequence[TokenSpans],
        states: Mapping[int, Any],
    ) -> AttentionContext:
        """What edits are told of a layer: where it stands, and what is kept of the prompt."""
        return AttentionContext(
            spans,
            columns.query,
            columns.key,
            layer,
            self.adapter.num_layers,
            first_query_column=columns.first,
            memo=columns.memo,
            carried=columns.carried,
            states=states,
        )

    def close(self) -> None:
        """Leave the caches as transformers made them, and hold nothing of the last pass."""
        self.place.unscale()
        # A thread may still add caches: keyrefs() lists all at once, items() would stop there.
        for reference in self._of_cache.keyrefs():
            if (cache := reference()) is not None:
                leave(cache)
                self._of_cache[cache].end()
        self._here, self._running = PerThread(self._given), set()

    def _prefill(self, ids: Tensor, kwargs: Mapping[str, Any]) -> Prefill:
        """Look at a prompt, and let the edits prepare for it."""
        inputs = prompt_inputs(ids, kwargs)
        kept = 0 if self.place.cache is None else self.place.kept
        start = first_draft(ids, kept, self.adapter.image_token_ids)
        mask = inputs["attention_mask"]
        spans = self.fixed_spans or self.adapter.spans(ids, mask, output_start=start)
        encoded = kwargs.get("mm_encoder_outputs") or None
        if encoded is not None:
            inputs = {**inputs, **self._pixels(ids, spans, encoded)}
        # An answer may stand behind the prompt, or tokens that were drafted.
        until = max(of_sample.output_column for of_sample in spans)
        inputs |= {name: inputs[name][:, :until] for name in TEXT if name in inputs}
        prefill = Prefill(spans, ids)
        self.place.prefill = prefill
        for edit in (each for each in self.edits if not is_aside(each)):

            def run(*watchers: Bindable, edit: Bound = edit, **how: Any) -> None:
                self.look(edit, {**kwargs, "input_ids": ids}, watchers, **how)

            prompt = Prompt(self.adapter, spans, inputs, run, encoded, self.asked, edit)
            prefill.states[id(edit)] = edit.prepare(prompt)
            if self._edits_logits and isinstance(edit, LogitsEditor) and not is_aside():
                taken = any(other.has_second_stream for other in self._others())
                bring_second(edit, prompt, prefill, self.scope, taken=taken)
        return prefill

    def _pixels(
        self, ids: Tensor, spans: Sequence[TokenSpans], encoded: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """Pixels of a prompt whose images were encoded before this pass; see `EncodedImages`."""
        if self.asked is None:
            return self.images.inputs(self.adapter, ids, spans, encoded)
        return self.asked.rows(self.adapter, self.asked.inputs, ids, spans)
