"""The second stream of a contrast: a sequence next to the first one, run where it is needed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from lvlmsal.attention.joined import Joined, can_join, fits_both
from lvlmsal.attention.stream import Stream
from lvlmsal.errors import UnsupportedError

Scope = Callable[[Sequence[Any]], AbstractContextManager[Any]]
"""Makes the scope of some edits, which is opened and closed as often as is needed."""

ONLY = ""
"""Name of a second stream that is the only one of its edit."""

PATIENCE = 3
"""So many tokens in a row need the second stream before both run in one pass, and so many do not
need it before they part again: joining copies both caches."""


class SecondStream:
    """A sequence that is handed the tokens of the first one, on a cache of its own.

    Its logits are wanted at few places where a cut leaves the model one token, or where a gate is
    closed. Tokens wait until then and are run together, as one pass costs little more than that of
    a token; where they never are wanted, not even the prompt is run. No token is lost on the way.
    Where they are wanted token after token, both streams are rows of one pass; see `Joined`.

    Args:
        model: the model.
        inputs: of the second prompt, as ``generate`` takes them.
        owner: the edit that brings it.
        width: columns of the first prompt.
        start: makes the second prompt's stream, where its first columns were run for several.
        scope: of edits that act in this stream alone. Its rows are never joined with the first
            stream's then.

    Attributes:
        length: columns of the first sequence that it was told of.
        inputs: of the second prompt.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        inputs: Mapping[str, Any],
        owner: Any,
        width: int,
        *,
        start: Callable[[], Stream] | None = None,
        scope: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.owner, self.length, self.inputs = owner, width, inputs
        self._model, self._width, self._start = model, width, start
        self._scope = scope
        self._stream: Stream | None = None
        self._waiting: list[Tensor] = []
        self._joined: Joined | None = None
        self._known: Tensor | None = None  # logits of the last token, from a pass of both streams
        self._in_row = 0  # how often they were wanted in a row; negative: how often not
        self._moves = False  # rows are reordered or tokens taken back, and would be copied for that

    def again(self) -> SecondStream:
        """The same prompt once more, for passes without a cache."""
        return SecondStream(self._model, self.inputs, self.owner, self._width, scope=self._scope)

    @property
    def goes_on(self) -> bool:
        """Whether its prompt may be run once up to where several prompts differ.

        Edits of its own need the whole prompt, from its beginning on.
        """
        return self._scope is None and bool(getattr(self.owner, "shares_second", False))

    def hear(self, ids: Tensor, past: int) -> None:
        """Take note of the tokens of a pass of the first sequence.

        Args:
            ids: of the pass, shape (B, q).
            past: columns before it.

        Raises:
            UnsupportedError: there are tokens between those that are known and these.
        """
        if past > self.length:
            raise UnsupportedError(
                f"{type(self.owner).__name__} has not seen all tokens after the prompt of this "
                "cache: run the prompt again, inside of this intervene(...) scope"
            )
        new = ids[:, self.length - past :]
        if new.shape[1]:
            self._waiting.append(new)
            self.length += new.shape[1]
            self._known = None

    def joins(
        self, cache: Cache | None, kwargs: Mapping[str, Any], *, is_edited: bool
    ) -> dict[str, Any] | None:
        """What the model is given where its next step is one of both streams.

        Args:
            cache: of the first stream.
            kwargs: of its step.
            is_edited: whether attention is edited in it, which goes by its columns: they must not
                be moved by a longer second stream.
        """
        stream, joined = self._stream, self._joined
        if (
            stream is None
            or cache is None
            or self._scope is not None
            or self._waiting
            or self.length != cache.get_seq_length()
        ):
            return None
        fits = fits_both(kwargs, len(stream.input_ids))
        if joined is not None and (
            not fits or self._in_row <= -PATIENCE or not joined.holds(cache)
        ):
            self._part()
        pays = self._joined is not None or (self._in_row >= PATIENCE and not self._moves)
        if not (fits and pays) or (self._joined is None and not can_join(cache, stream)):
            return None
        if is_edited and stream.cache.get_seq_length() > cache.get_seq_length():
            self._part()
            return None
        second = stream.ready(kwargs["input_ids"])
        places = [getattr(of.get("position_ids"), "shape", None) for of in (kwargs, second)]
        if places[0] != places[1]:  # some families count text in other ways
            self._part()
            return None
        if self._joined is None:
            self._joined = Joined(cache, stream)
        return self._joined.inputs(kwargs, second)

    def joined(self, tokens: Tensor, logits: Tensor) -> None:
        """A step of both streams has ended, with tokens (B, 1) and logits (B, 1, V) of this one."""
        assert self._joined is not None
        assert self._stream is not None
        self._joined.passed()
        self._stream.was_given(tokens)
        self.length += 1
        self._known = logits if logits.dtype == torch.float64 else logits.float()

    def is_unwanted(self) -> None:
        """Its logits do not matter for a token."""
        self._in_row = min(self._in_row, 0) - 1

    def logits(self, count: int) -> Tensor:
        """Run what waits; raw logits of the last rows, shape (B, count, V)."""
        self._in_row = max(self._in_row, 0) + 1
        if self._known is not None and count == 1:
            return self._known
        self._part()
        with self._scope or nullcontext():
            return self._run(count)

    def _run(self, count: int) -> Tensor:
        parts = []
        if self._stream is None:
            start = self._start or partial(Stream.of, self._model, self.inputs)
            self._stream = start()
            parts.append(self._stream.prefill()[:, None])
            if self._waiting and self.length - self._heard() < self._width:
                # The prompt's last token was taken back and told again: it has been run just now.
                self._waiting[0] = self._waiting[0][:, 1:]
        waiting = [tokens for tokens in self._waiting if tokens.shape[1]]
        if waiting:
            parts.append(self._stream.commit(torch.cat(waiting, dim=1), keep=count))
        self._waiting = []
        return torch.cat(parts, dim=1)[:, -count:]

    def drop(self, count: int) -> None:
        """Take back the last tokens; of the prompt its last one at most.

        Raises:
            ValueError: more were to be dropped.
        """
        if self.length - count < self._width - 1:
            raise ValueError(f"{count} tokens cannot be taken back: the prompt would be cut")
        self._part()
        self._moves = True
        self.length -= count
        while count and self._waiting:
            last = self._waiting.pop()
            kept = max(0, last.shape[1] - count)
            count -= last.shape[1] - kept
            if kept:
                self._waiting.append(last[:, :kept])
        if count and self._stream is not None:
            self._stream.drop(count)

    def select(self, rows: Tensor) -> None:
        """Let beams go on from others of their sample, whose row numbers are given, (B,)."""
        self._part()
        self._moves = True
        self._waiting = [tokens[rows.to(tokens.device)] for tokens in self._waiting]
        if self._stream is not None:
            self._stream.select(rows)

    def _part(self) -> None:
        """Go on in passes of its own."""
        self._joined = self._known = None

    def end(self) -> None:
        """The scope ends: leave the first stream's cache as one of its own."""
        if self._joined is not None:
            self._joined.leave()
        self._part()

    def _heard(self) -> int:
        return sum(tokens.shape[1] for tokens in self._waiting)


class _Moved:
    """One method of one cache, after which second streams go where the first one went.

    It lies on the cache itself, over the method of its class. Nothing else of the cache changes:
    its layers, its class and what they say are what transformers decides by (whether a cache can
    be compiled, and so which masks are made for it).
    """

    def __init__(self, cache: Cache, name: str, seconds: Sequence[SecondStream]) -> None:
        self.name, self.seconds = name, seconds
        self._cache = weakref.ref(cache)  # a circle would keep keys and values until it is found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        cache = self._cache()
        assert cache is not None  # it is called through the cache
        if self.name.startswith("batch_"):
            raise UnsupportedError(
                f"{self.name} after the prompt was run is not known to a second stream: repeat or "
                "select rows before the prompt is run"
            )
        found = getattr(type(cache), self.name)(cache, *args, **kwargs)
        for second in self.seconds:
            if self.name == "reorder_cache":  # beams go on from others
                second.select(args[0] if args else kwargs["beam_idx"])
            else:
                # Rejected tokens are taken back. Those of plain passes were never told of: nothing
                # is taken back while some of them are left, and the next edited pass is refused.
                second.drop(max(0, second.length - int(cache.get_seq_length())))
        return found

    def __deepcopy__(self, memo: object) -> Any:
        """It would copy the model, and no pass would find the copy."""
        raise UnsupportedError(
            "a cache that a second stream follows cannot be copied: copy it after the "
            "intervene(...) scope, or before"
        )

    def __reduce__(self) -> Any:
        """Pickling would do the same."""
        self.__deepcopy__(None)


MOVES = ("reorder_cache", "crop", "batch_repeat_interleave", "batch_select_indices")
"""Beam search reorders a cache and rejected tokens are cropped off it, with a word to it alone."""


def follow(cache: Cache, seconds: Sequence[SecondStream]) -> None:
    """Let second streams follow a cache, if they do not yet."""
    known = vars(cache).get(MOVES[0])
    if not isinstance(known, _Moved) or known.seconds[0] is not seconds[0]:
        vars(cache).update({name: _Moved(cache, name, seconds) for name in MOVES})


def leave(cache: Cache) -> None:
    """Make a cache what it was before :func:`follow`."""
    for name in MOVES:
        if isinstance(vars(cache).get(name), _Moved):
            delattr(cache, name)
