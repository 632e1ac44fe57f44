"""The second stream of a contrast: a sequence beside the first, run where it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from lvlmsal.errors import UnsupportedError
from lvlmsal.streams import Stream


class SecondStream:
    """A sequence that is handed the tokens of the first one, on a cache of its own.

    Its logits are wanted at few places where a cut leaves the model one token, or where a gate is
    closed. Tokens wait until then and are run together, as one pass costs little more than that of
    a token; where they never are wanted, not even the prompt is run. No token is lost on the way.

    Args:
        model: the model.
        inputs: of the second prompt, as ``generate`` takes them.
        owner: the edit that brings it.
        width: columns of the first prompt.

    Attributes:
        length: columns of the first sequence that it was told of.
    """

    def __init__(
        self, model: PreTrainedModel, inputs: Mapping[str, Any], owner: object, width: int
    ) -> None:
        self.owner, self.length = owner, width
        self._model, self._inputs, self._width = model, inputs, width
        self._stream: Stream | None = None
        self._waiting: list[Tensor] = []

    def anew(self) -> SecondStream:
        """The same prompt once more, for passes without a cache."""
        return SecondStream(self._model, self._inputs, self.owner, self._width)

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
                f"{type(self.owner).__name__} has not seen all tokens behind the prompt of this "
                "cache: run the prompt anew, inside of this intervene(...) scope"
            )
        new = ids[:, self.length - past :]
        if new.shape[1]:
            self._waiting.append(new)
            self.length += new.shape[1]

    def logits(self, count: int) -> Tensor:
        """Run what waits; raw logits of the last rows, shape (B, count, V)."""
        parts = []
        if self._stream is None:
            self._stream = Stream.of(self._model, self._inputs)
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
        self._waiting = [tokens[rows.to(tokens.device)] for tokens in self._waiting]
        if self._stream is not None:
            self._stream.select(rows)

    def _heard(self) -> int:
        return sum(tokens.shape[1] for tokens in self._waiting)


class SecondStreamLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # its __init_subclass__
    """Takes a second stream along when the first one's cache is reordered or cut.

    It stands behind the layers of that cache and holds no keys of its own. Beam search reorders a
    cache, and rejected tokens are cropped off it, without a word to anyone else.
    """

    is_sliding = False
    is_croppable = True

    def __init__(self, second: SecondStream) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.second = second
        self.is_initialized = True

    def __deepcopy__(self, memo: object) -> SecondStreamLayer:
        """It would copy the model, and no pass would find the copy."""
        raise UnsupportedError(
            "a cache that a second stream follows cannot be copied: copy it after the "
            "intervene(...) scope, or before"
        )

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to set up."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """No layer of a model writes here."""
        raise UnsupportedError("this layer of the cache belongs to a second stream")

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """As long as the first sequence."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Columns of the first sequence."""
        return self.second.length

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    def reset(self) -> None:
        """The next prompt makes a stream of its own."""

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Beams go on from others."""
        self.second.select(beam_idx)

    def crop(self, tokens_to_remove: int) -> None:
        """Take back the last tokens; the number is negative, as in transformers."""
        if tokens_to_remove:
            self.second.drop(-tokens_to_remove)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Not what any search of transformers does after the prompt."""
        raise UnsupportedError("a second stream cannot be repeated after its prompt was run")

    def batch_select_indices(self, indices: Tensor) -> None:
        """Likewise."""
        raise UnsupportedError("rows of a second stream cannot be dropped after its prompt was run")


def follow(cache: Cache, second: SecondStream) -> None:
    """Let a second stream follow a cache, if it does not yet."""
    followed = any(getattr(layer, "second", None) is second for layer in cache.layers)
    if not followed:
        leave(cache)
        cache.layers.append(SecondStreamLayer(second))


def leave(cache: Cache) -> None:
    """Make a cache what it was before :func:`follow`."""
    cache.layers = [layer for layer in cache.layers if not isinstance(layer, SecondStreamLayer)]
