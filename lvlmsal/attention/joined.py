"""Both streams of a contrast as rows of one pass, where the second is wanted token after token.

A decode step costs about as much for two rows as for one, so a second pass for each token is nearly
half of what a contrast costs. The rows keep their own lengths, masks and positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from lvlmsal.adapters.pixels import KINDS, TEXT
from lvlmsal.attention.cache import GrowingLayer, is_plain
from lvlmsal.attention.stream import Stream
from lvlmsal.versions import CACHE

_KNOWN = {*TEXT, "position_ids", CACHE, "use_cache", "return_dict", "logits_to_keep"}
"""Arguments of a step that is known to need no others for its second row."""


class Joined:
    """Two streams in one cache: the rows of the first, then those of the second.

    The caches of both see their rows and columns of it. Hooks that others have put on the model see
    the rows of both while a pass runs.

    Args:
        first: cache of the first stream.
        second: the second one.

    Attributes:
        columns: of the cache.
        pads: columns of padding before the rows of each stream, of which one has none.
    """

    def __init__(self, first: Cache, second: Stream) -> None:
        self._first, self._second = first, second
        lengths = [int(cache.get_seq_length()) for cache in (first, second.cache)]
        self.columns = max(lengths)
        self.pads = [self.columns - length for length in lengths]
        self.cache = DynamicCache()
        self.cache.layer_class_to_replicate = GrowingLayer
        for index, layers in enumerate(zip(first.layers, second.cache.layers, strict=True)):
            pairs = zip(*map(_states, layers), strict=True)
            keys, values = (torch.cat(list(map(_padded, pair, self.pads))) for pair in pairs)
            self.cache.update(keys, values, index)
        self.rows = len(second.input_ids)
        self._hand_over()

    def holds(self, first: Cache) -> bool:
        """Whether a cache is the first stream's as the last pass has left it."""
        mine, theirs = (_states(cache.layers[0])[0] for cache in (self.cache, first))
        mine = mine[:, :, self.pads[0] :]
        unmoved = mine.data_ptr() == theirs.data_ptr() and theirs.shape[2] == mine.shape[2]
        usable = mine.is_inference() == torch.is_inference_mode_enabled()
        return first is self._first and unmoved and usable

    def inputs(self, kwargs: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
        """What the model is given for a step of both, from what each would be given."""
        ids = kwargs["input_ids"]
        for layer in self.cache.layers:  # a pass may have failed behind some of them
            assert isinstance(layer, DynamicLayer)
            if failed := layer.get_seq_length() - self.columns:
                layer.crop(-failed)
        masks = []
        for given, pad in zip((kwargs, second), self.pads, strict=True):
            mask = given.get("attention_mask")
            mask = ids.new_ones(len(ids), self.columns - pad + 1) if mask is None else mask
            masks.append(torch.nn.functional.pad(mask, (pad, 0)))
        positions = kwargs["position_ids"], second["position_ids"]
        kinds = {
            name: torch.cat([kwargs[name], second.get(name, torch.zeros_like(ids))])
            for name in KINDS
            if isinstance(kwargs.get(name), Tensor)
        }
        return {
            **kwargs,
            **kinds,
            "input_ids": torch.cat([ids, ids]),
            "attention_mask": torch.cat(masks),
            "position_ids": torch.cat(positions, dim=-2),
            CACHE: self.cache,
        }

    def passed(self) -> None:
        """A pass has ended: the caches of both streams see its columns."""
        self.columns = int(self.cache.get_seq_length())
        self._hand_over()

    def leave(self) -> None:
        """Give the first stream's cache memory of its own, without the second's rows."""
        if self.holds(self._first):
            for layer in self._first.layers:
                assert isinstance(layer, DynamicLayer)
                layer.keys, layer.values = (states.clone() for states in _states(layer))

    def _hand_over(self) -> None:
        """Let the layers of both caches see their rows and columns."""
        streams = (
            (self._first, slice(0, self.rows), slice(self.pads[0], self.columns)),
            (self._second.cache, slice(self.rows, None), slice(self.pads[1], self.columns)),
        )
        for cache, rows, columns in streams:
            for layer, joined in zip(cache.layers, self.cache.layers, strict=True):
                assert isinstance(layer, DynamicLayer)
                keys, values = _states(joined)
                layer.keys, layer.values = keys[rows, :, columns], values[rows, :, columns]
                if isinstance(layer, GrowingLayer):
                    layer.forget_room()


def fits_both(kwargs: Mapping[str, Any], rows: int) -> bool:
    """Whether a step of the first stream, of so many rows, may be one of both streams."""
    told = {name for name, value in kwargs.items() if value is not None and value is not False}
    ids, mask = kwargs.get("input_ids"), kwargs.get("attention_mask")
    return (
        told <= _KNOWN
        and isinstance(ids, Tensor)
        and ids.shape == (rows, 1)
        and isinstance(kwargs.get("position_ids"), Tensor)
        and (mask is None or (isinstance(mask, Tensor) and mask.dim() == 2))
        and not torch.is_grad_enabled()
    )


def can_join(first: Cache, second: Stream) -> bool:
    """Whether caches of two streams can be one: plain ones that hold something."""
    return all(is_plain(cache) and cache.get_seq_length() > 0 for cache in (first, second.cache))


def _padded(states: Tensor, columns: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, 0, columns, 0))


def _states(layer: object) -> tuple[Tensor, Tensor]:
    """Keys and values of a layer of a cache that holds some."""
    assert isinstance(layer, DynamicLayer)
    assert layer.keys is not None
    assert layer.values is not None
    return layer.keys, layer.values
