"""The KV cache of recorded decoding: free of graphs, cheap to extend, easy to take back."""

from __future__ import annotations

from typing import TypeGuard

from torch import LongTensor, Tensor
from transformers import Cache, DynamicCache, PreTrainedConfig, QuantizedCache
from transformers.cache_utils import DynamicLayer

from lvlmsal.attention.recording import Own, Recording
from lvlmsal.errors import UnsupportedError
from lvlmsal.versions import CACHE

CHUNK = 64
"""Positions by which a layer's memory grows."""


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # its __init_subclass__
    """Keys and values of one layer in memory with room behind them.

    Appending to a :class:`transformers.cache_utils.DynamicLayer` copies all that is there, which at
    long prefixes is a third of a small model's decode step. Here new positions are written behind
    the old ones; what is returned are views. Taking positions back shortens the view, and the next
    ones are written over them: whoever keeps a view must not read it after that.
    """

    _room: tuple[Tensor, Tensor] | None = None

    @classmethod
    def holding(cls, other: DynamicLayer) -> GrowingLayer:
        """A layer that goes on from what another one holds, which stays as it is."""
        layer = cls()
        if other.keys is not None and other.values is not None:
            layer.update(other.keys, other.values)
        return layer

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, H, m, d); all of them, (B, H, n + m, d)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        room, keys, values = self._room, self.keys, self.values
        assert keys is not None  # the initialization has set both
        assert values is not None
        # Whoever replaced the keys (reordering, repeating) left the room behind.
        moved = room is not None and start > 0 and keys.data_ptr() != room[0].data_ptr()
        if room is None or room[0].shape[-2] < stop or moved:
            room = _with_room(key_states, stop + CHUNK), _with_room(value_states, stop + CHUNK)
            if start:
                room[0][..., :start, :] = keys
                room[1][..., :start, :] = values
            self._room = room
        room[0][..., start:stop, :] = key_states
        room[1][..., start:stop, :] = value_states
        self.keys, self.values = room[0][..., :stop, :], room[1][..., :stop, :]
        return self.keys, self.values

    def forget_room(self) -> None:
        """Let go of the memory behind keys and values that have moved."""
        self._room = None

    def reorder_cache(self, beam_idx: LongTensor) -> None:
        """As in a dynamic layer; all layers move before any of them grows."""
        super().reorder_cache(beam_idx)
        self.forget_room()

    def batch_repeat_interleave(self, repeats: int) -> None:
        """As in a dynamic layer."""
        super().batch_repeat_interleave(repeats)
        self.forget_room()

    def batch_select_indices(self, indices: Tensor) -> None:
        """As in a dynamic layer."""
        super().batch_select_indices(indices)
        self.forget_room()


def _with_room(states: Tensor, positions: int) -> Tensor:
    return states.new_empty(*states.shape[:-2], positions, states.shape[-1])


def keeps_all(config: PreTrainedConfig) -> bool:
    """Whether each layer of a decoder attends to, and keeps, all that came before."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)


def plain_layers(cache: Cache) -> list[DynamicLayer]:
    """The layers of a cache that hold all keys and values as they are."""
    return [
        layer
        for layer in cache.layers
        if isinstance(layer, DynamicLayer) and type(layer) in (DynamicLayer, GrowingLayer)
    ]


class RecordingCache(DynamicCache):
    """A KV cache that stays free of graphs while a pass is recorded.

    The new keys and values go to the recording with their graph and into the cache without it, so
    the past is a constant of the recorded step and nothing has to be detached afterwards. All its
    layers keep the whole sequence, so a step can be rolled back.
    """

    recording: Recording | None = None

    def __init__(self) -> None:
        super().__init__()
        self.layer_class_to_replicate = GrowingLayer

    @classmethod
    def adopt(cls, cache: Cache | None) -> RecordingCache:
        """A recording cache that goes on from what an ordinary one holds.

        Raises:
            UnsupportedError: it holds keys in a form that cannot be taken back token by token.
        """
        new = cls()
        if isinstance(cache, QuantizedCache):
            raise UnsupportedError(
                "saliency needs exact keys and values, and this cache is quantized: drop "
                "cache_implementation='quantized'"
            )
        if cache is not None and cache.get_seq_length() > 0:
            plain = plain_layers(cache)
            if len(plain) < len(cache.layers):
                kinds = {type(layer).__name__ for layer in cache.layers}
                raise UnsupportedError(
                    f"{CACHE} holds layers of type {', '.join(sorted(kinds))}, which "
                    f"cannot be taken back token by token (a sliding window has dropped what "
                    f"would come into view again): pass a transformers.DynamicCache() without "
                    f"arguments, or none"
                )
            new.layers = [GrowingLayer.holding(layer) for layer in plain]
        return new

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> tuple[Tensor, Tensor]:
        """Append, as :class:`transformers.DynamicCache` does, and tell the recording."""
        keys, values = super().update(
            key_states.detach(), value_states.detach(), layer_idx, *args, **kwargs
        )
        if self.recording is not None and not self.recording.full:
            self.recording.own[layer_idx] = Own(key_states, value_states, keys, values)
        return keys, values


def is_plain(cache: Cache | None) -> TypeGuard[DynamicCache]:
    """Whether a cache holds all keys and values as they are, in every layer and where they act."""
    if not isinstance(cache, DynamicCache) or type(cache) not in (DynamicCache, RecordingCache):
        return False
    return not cache.offloading and len(plain_layers(cache)) == len(cache.layers)
