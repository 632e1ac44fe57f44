"""Prompts that begin alike: what is kept of their common columns, and how they go on from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.pixels import TEXT
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.editor import KeepsGoing, LogitsEditor
from lvlmsal.attention.passes import Passes
from lvlmsal.attention.prompt import Prefill, Prompt
from lvlmsal.attention.scopes import open_passes
from lvlmsal.attention.second_prompts import bring_second
from lvlmsal.attention.stream import Stream, positions_kept, prepared


@dataclass(frozen=True)
class Tails:
    """What stands behind the common columns in each row of a batch, padded at the left.

    The padding stands before the common tokens, and as many of these are taken off their end and
    run again, so that all rows have equally many columns cached.

    Attributes:
        rows: token ids, at least one each.
        numbers: which of the prompts each row is of.
        pad_token: stands in padded columns.
    """

    rows: Sequence[Sequence[int]]
    numbers: Sequence[int]
    pad_token: int

    @classmethod
    def of(cls, tails: Sequence[Sequence[int]], numbers: Sequence[int], pad_token: int) -> Tails:
        """Those of some prompts among all of them."""
        return cls([tails[number] for number in numbers], numbers, pad_token)

    @property
    def pads(self) -> list[int]:
        """Columns of padding before each row."""
        longest = max(map(len, self.rows))
        return [longest - len(row) for row in self.rows]

    def repeated(self, beams: int) -> Tails:
        """With so many rows in turn for each."""
        rows = [row for row in self.rows for _ in range(beams)]
        numbers = [number for number in self.numbers for _ in range(beams)]
        return replace(self, rows=rows, numbers=numbers)

    def behind(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Texts of whole prompts, (rows, columns), from those of the common columns, (1, n)."""
        # what stands in padded columns, and what a tail's tokens are in each input but the ids
        padding = {"input_ids": self.pad_token}
        own = {"attention_mask": 1}
        found: dict[str, Tensor] = {}
        for name in (name for name in TEXT if name in inputs):
            head, rows = inputs[name][0], []
            for pad, tail in zip(self.pads, self.rows, strict=True):
                values = tail if name == "input_ids" else [own.get(name, 0)] * len(tail)
                before = head.new_full((pad,), padding.get(name, 0))
                rows.append(torch.cat([before, head, head.new_tensor(values)]))
            found[name] = torch.stack(rows)
        return found

    def cache(self, cache: DynamicCache) -> DynamicCache:
        """Keys and values of the common columns (1, h, n, d) for each row, behind its padding."""
        layers: list[Any] = cache.layers  # of a kind with keys and values
        pairs = [
            (_shifted(each.keys, self.pads), _shifted(each.values, self.pads)) for each in layers
        ]
        return DynamicCache(pairs)


@dataclass
class Begun:
    """The common columns of prompts, once a scope has run them.

    Attributes:
        cache: keys and values, shape (1, heads, n, d) a layer.
        inputs: of these columns, one row, pixels included.
        states: what each edit of the scope keeps of them.
        owner: place among these edits of the one that brings second streams.
        seconds: by name, what their prompts begin with; ``None`` for one that is run as a whole
            with each prompt, and in place of the names where all of them are.
    """

    cache: DynamicCache
    inputs: Mapping[str, Tensor]
    states: Sequence[Any]
    owner: int | None
    seconds: Mapping[str, SecondPrefix | None] | None

    @classmethod
    def of(cls, passes: Passes, cache: DynamicCache, inputs: Mapping[str, Tensor]) -> Begun:
        """What a scope has left of the prompt that it has just run."""
        prefill = passes.of_cache(cache)
        assert prefill is not None  # it has run in this scope
        owner, seconds = None, None
        for place, edit in enumerate(passes.edits):
            if isinstance(edit, LogitsEditor) and getattr(edit, "brings_second_stream", False):
                owner = place
                if getattr(edit, "shares_second", False):
                    seconds = {
                        name: SecondPrefix(second.inputs) if second.goes_on else None
                        for name, second in prefill.seconds.items()
                    }
        states = [prefill.states.get(id(edit)) for edit in passes.edits]
        return cls(cache, inputs, states, owner, seconds)

    @property
    def runs(self) -> int:
        """How many second prefixes were run so far."""
        seconds = (self.seconds or {}).values()
        return sum(second is not None and second.is_run for second in seconds)

    def pixels(self, adapter: ModelAdapter, count: int) -> dict[str, Tensor]:
        """Inputs that are not text for so many prompts, where second ones are run as a whole."""
        whole = self.seconds is None or None in self.seconds.values()
        if self.owner is None or not whole:
            return {}
        spans = adapter.spans(self.inputs["input_ids"])
        found = adapter.select_rows(self.inputs, spans, [0] * count)
        return {name: value for name, value in found.items() if name not in TEXT}

    def go_on(self, passes: Passes, cache: Cache, tails: Tails) -> None:
        """Let a scope go by prompts that begin with these columns.

        Args:
            passes: of the scope, which has the edits of the one that has run them.
            cache: that :meth:`Tails.cache` has made.
            tails: of the prompts, a row for each of the cache.
        """
        inputs = tails.behind(self.inputs)
        prefill = _told(passes, cache, inputs, self.states)
        if self.owner is None:
            return
        owner = passes.edits[self.owner]
        assert isinstance(owner, LogitsEditor)
        starts: dict[str, Callable[[], Stream] | None] | None = None
        if self.seconds is not None:
            starts = {
                name: None if second is None else partial(second.stream, passes, tails)
                for name, second in self.seconds.items()
            }
        prompt = _prompt(passes, owner, inputs, prefill.spans)
        bring_second(owner, prompt, prefill, passes.scope, starts=starts)


class SecondPrefix:
    """What the second prompts of several questions begin with; run when one is first needed.

    Args:
        inputs: of these columns, as ``generate`` takes them, one row.
        tails: what stands behind them in each second prompt, where that is not what stands behind
            the first prompts' common columns.
    """

    def __init__(
        self, inputs: Mapping[str, Any], tails: Sequence[Sequence[int]] | None = None
    ) -> None:
        self._inputs, self._tails = inputs, tails
        self._cache: DynamicCache | None = None
        self._states: list[Any] = []
        self._positions: list[Any] = []

    @property
    def is_run(self) -> bool:
        """Whether it was needed."""
        return self._cache is not None

    def stream(self, passes: Passes, tails: Tails) -> Stream:
        """The second prompts of a batch, behind these columns.

        Args:
            passes: of the scope, aside of whose own pass this is.
            tails: of the first prompts.
        """
        model = passes.adapter.model
        if self._tails is not None:
            tails = Tails.of(self._tails, tails.numbers, tails.pad_token)
        with positions_kept(model):
            cache = tails.cache(self._run(passes))
            inputs = tails.behind(self._inputs)
            _told(passes, cache, inputs, self._states)
            return Stream.of(model, inputs, cache)

    def _run(self, passes: Passes) -> DynamicCache:
        """Keys and values; the model's offset of positions becomes that of these columns."""
        model = passes.adapter.model
        holders: list[Any] = [each for each in model.modules() if hasattr(each, "rope_deltas")]
        if self._cache is None:
            ids, mask = self._inputs["input_ids"], self._inputs.get("attention_mask")
            before = [(each, each.fixed_spans) for each in open_passes()]
            for each, _ in before:
                each.fixed_spans = unfinished(passes.adapter.spans(ids, mask))
            try:
                stream = prepared(model, self._inputs, partial(Stream, model))
                self._positions = [each.rope_deltas for each in holders]
                stream.prefill()
            finally:
                for each, spans in before:
                    each.fixed_spans = spans
            assert isinstance(stream.cache, DynamicCache)
            self._cache = stream.cache
            prefill = passes.of_cache(stream.cache)
            known = {} if prefill is None else prefill.states
            self._states = [known.get(id(edit)) for edit in passes.edits]
        for each, offset in zip(holders, self._positions, strict=True):
            each.rope_deltas = offset
        return self._cache


def unfinished(spans: Sequence[TokenSpans]) -> list[TokenSpans]:
    """Spans of prompts that go on, so that none of their rows predicts a token of the answer."""
    return [replace(each, output_start=each.length + 1, length=each.length + 1) for each in spans]


def _told(
    passes: Passes, cache: Cache, inputs: Mapping[str, Tensor], states: Sequence[Any]
) -> Prefill:
    """Let a scope know the prompts whose first columns a cache holds."""
    spans = passes.adapter.spans(inputs["input_ids"], inputs.get("attention_mask"))
    prefill = Prefill(spans, inputs["input_ids"])
    cached = int(cache.get_seq_length())
    for edit, state in zip(passes.edits, states, strict=True):
        if state is not None and isinstance(edit, KeepsGoing):
            state = edit.go_on(state, spans, cached)
        prefill.states[id(edit)] = state
    passes.keep(cache, prefill)
    return prefill


def _prompt(
    passes: Passes, edit: Any, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
) -> Prompt:
    """Prompts as their edit sees them, with pixels where they are known."""
    ids, asked = inputs["input_ids"], passes.asked
    pixels = {} if asked is None else asked.rows(passes.adapter, asked.inputs, ids, spans)
    whole = {**inputs, **pixels}

    def run(*watchers: Any, **how: Any) -> None:
        passes.look(edit, {}, watchers, **{"inputs": whole, **how})

    return Prompt(passes.adapter, spans, whole, run, None, asked, edit)


def _shifted(states: Tensor, pads: Sequence[int]) -> Tensor:
    """Rows of keys or values (1, h, n, d) behind their padding, cut to n: (len(pads), h, n, d)."""
    rows = states.new_zeros(len(pads), *states.shape[1:])
    length = states.shape[2]
    for row, pad in zip(rows, pads, strict=True):
        row[:, pad:] = states[0, :, : length - pad]
    return rows
