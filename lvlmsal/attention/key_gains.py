"""Gains on the weights of keys, by way of their values: the attention kernel stays the model's own.

In a pass of one row, weights that are multiplied key by key come to the same as values that are.
So the values of these keys are scaled in the cache while the pass runs, and put back behind it, to
the bit. That costs a few small copies a layer, where weights cost two products and a softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.cache import is_plain, plain_layers
from lvlmsal.attention.editor import Editor


@dataclass
class ScaledValues:
    """Values that are scaled while a pass runs, and what they were.

    Attributes:
        layers: of the cache.
        keys: whose values are scaled.
        kept: what they were in each of the layers, (B, Hkv, number of keys, d).
    """

    layers: Sequence[DynamicLayer]
    keys: slice
    kept: Sequence[Tensor]

    def restore(self) -> None:
        """Put them back; a layer may have copied its values since."""
        for layer, kept in zip(self.layers, self.kept, strict=True):
            assert layer.values is not None  # they were there when they were scaled
            layer.values[:, :, self.keys] = kept


def scale_values(
    editor: Editor,
    cache: Cache | None,
    ids: Tensor | None,
    spans: Sequence[TokenSpans],
    num_layers: int,
) -> ScaledValues | None:
    """Scale the values of a cache for the pass that begins.

    Args:
        editor: the only one that edits attention in this pass.
        cache: that the pass goes on from.
        ids: that it is given, (B, q).
        spans: of the prompt, one for each sample.
        num_layers: depth of the decoder.

    Returns:
        What is to be restored; ``None`` where weights have to be edited: the pass has several rows
        or a gradient, its cache is of another kind or not seen from its prompt on, or the edit does
        more than to multiply weights key by key.
    """
    if ids is None or ids.shape[1] != 1 or torch.is_grad_enabled():
        return None
    if not is_plain(cache) or len(cache.layers) != num_layers or len(spans) != len(ids):
        return None
    column = cache.get_seq_length()
    layers = [layer for layer in plain_layers(cache) if _can_scale(layer, column)]
    apart = {layer.values.data_ptr() for layer in layers if layer.values is not None}
    if len(layers) < num_layers or len(apart) < num_layers:
        return None
    found = editor.key_gains(column, spans)
    if found is None:
        return None
    keys, gain = found
    edited = [layer for index, layer in enumerate(layers) if editor.applies_to(index)]
    kept = []
    for layer in edited:
        assert layer.values is not None  # a layer that can be scaled has some
        part = layer.values[:, :, keys]
        kept.append(part.clone())
        part.mul_(gain if isinstance(gain, float) else gain[:, None, :, None].to(part.device))
    return ScaledValues(edited, keys, kept)


def _can_scale(layer: DynamicLayer, columns: int) -> bool:
    """Whether a layer of a cache holds values of its own, of all columns so far."""
    keys, values = layer.keys, layer.values
    if keys is None or values is None or values.shape[2] != columns or values.requires_grad:
        return False
    apart = keys.data_ptr() != values.data_ptr() and 0 not in values.stride()
    return apart and values.is_inference() == torch.is_inference_mode_enabled()
