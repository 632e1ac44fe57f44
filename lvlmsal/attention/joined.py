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

from lvlmsal.attention.cache import GrowingLayer, RecordingCache
from lvlmsal.attention.stream import Stream
from lvlmsal.versions import CACHE

_CACHES = (DynamicCache, RecordingCache)
_KINDS = ("token_type_ids", "mm_token_type_ids")
_KNOWN = {
    *("input_ids", "attention_mask", "position_ids", CACHE, *_KINDS),
    *("use_cache", "return_dict", "logits_to_keep"),
}
"""Arguments of a step that is known to need no others for its second row."""


class Joined:
    """Two streams in one cache: the rows of the first, then those of the second.

    Args:
        first: cache of the first stream.
        second: the second one, no longer than the first.
    """

    def __init__(self, first: Cache, second: Stream) -> None:
        self._first, self._second = first, second
        self.columns = int(first.get_seq_length())
        self.pad = self.columns - int(second.cache.get_seq_length())
        self.cache = DynamicCache()
        self.cache.layer_class_to_replicate = GrowingLayer
        for index, layers in enumerate(zip(first.layers, second.cache.layers, strict=True)):
            pairs = zip(*map(_states, layers), strict=True)
            keys, values = (torch.cat([a, _padded(b, self.pad)]) for a, b in pairs)
            self.cache.update(keys, values, index)
        self.rows = len(second.input_ids)

    def holds(self, first: Cache) -> bool:
        """Whether a cache is the first stream's as the last pass has left it."""
        mine, theirs = (_states(cache.layers[0])[0] for cache in (self.cache, first))
        unmoved = mine.data_ptr() == theirs.data_ptr() and theirs.shape[2] == self.columns
        return first is self._first and unmoved

    def inputs(self, kwargs: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
        """What the model is given for a step of both, from what each would be given."""
        ids = kwargs["input_ids"]
        if failed := self.cache.get_seq_length() - self.columns:  # in the middle of a pass
            self.cache.crop(-failed)
        masks = []
        for given, columns in ((kwargs, self.columns), (second, self.columns - self.pad)):
            mask = given.get("attention_mask")
            masks.append(ids.new_ones(len(ids), columns + 1) if mask is None else mask)
        shorter = masks[1].new_zeros(len(ids), self.pad)
        positions = kwargs["position_ids"], second["position_ids"]
        kinds = {
            name: torch.cat([kwargs[name], second.get(name, torch.zeros_like(ids))])
            for name in _KINDS
            if isinstance(kwargs.get(name), Tensor)
        }
        return {
            **kwargs,
            **kinds,
            "input_ids": torch.cat([ids, ids]),
            "attention_mask": torch.cat([masks[0], torch.cat([shorter, masks[1]], dim=1)]),
            "position_ids": torch.cat(positions, dim=-2),
            CACHE: self.cache,
        }

    def passed(self) -> None:
        """A pass has ended: the first stream's cache sees its columns."""
        self.columns = int(self.cache.get_seq_length())
        _hand_over(self._first, self.cache, slice(0, self.rows), slice(0, self.columns))

    def part(self) -> None:
        """Give the second stream a cache of its own again."""
        rows, columns = slice(self.rows, None), slice(self.pad, self.columns)
        _hand_over(self._second.cache, self.cache, rows, columns)


def can_join(first: Cache, second: Stream, kwargs: Mapping[str, Any]) -> bool:
    """Whether the next step of a stream and of a second one may be one pass.

    Args:
        first: cache of the first stream.
        second: the second one.
        kwargs: of the first one's step.
    """
    caches = first, second.cache
    if any(type(cache) not in _CACHES or getattr(cache, "offloading", False) for cache in caches):
        return False
    layers = [layer for cache in caches for layer in cache.layers]
    if not layers or any(type(layer) not in (DynamicLayer, GrowingLayer) for layer in layers):
        return False
    told = {name for name, value in kwargs.items() if value is not None and value is not False}
    ids, mask = kwargs.get("input_ids"), kwargs.get("attention_mask")
    return (
        told <= _KNOWN
        and isinstance(ids, Tensor)
        and ids.shape == (len(second.input_ids), 1)
        and isinstance(kwargs.get("position_ids"), Tensor)
        and (mask is None or (isinstance(mask, Tensor) and mask.dim() == 2))
        and second.cache.get_seq_length() <= first.get_seq_length()
        and not torch.is_grad_enabled()
    )


def _padded(states: Tensor, columns: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, 0, columns, 0))


def _states(layer: object) -> tuple[Tensor, Tensor]:
    """Keys and values of a layer of a cache that holds some."""
    assert isinstance(layer, DynamicLayer)
    assert layer.keys is not None
    assert layer.values is not None
    return layer.keys, layer.values


def _hand_over(to: Cache, cache: Cache, rows: slice, columns: slice) -> None:
    """Let the layers of a cache see some rows and columns of another one."""
    for layer, joined in zip(to.layers, cache.layers, strict=True):
        assert isinstance(layer, DynamicLayer)
        keys, values = _states(joined)
        layer.keys, layer.values = keys[rows, :, columns], values[rows, :, columns]
