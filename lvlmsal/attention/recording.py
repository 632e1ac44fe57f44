"""What a recorded pass keeps, and the gradient of the attention weights that follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lvlmsal.errors import UnsupportedError


class Own(NamedTuple):
    """What a layer adds to a recording cache in one pass, and what the cache gives it for that.

    Attributes:
        key: of the pass, with its graph, (B, Hkv, m, d).
        value: likewise.
        keys: all of them, without a graph, (B, Hkv, k, d).
        values: likewise.
    """

    key: Tensor
    value: Tensor
    keys: Tensor
    values: Tensor

    def is_in(self, keys: Tensor, values: Tensor) -> bool:
        """Whether the last columns of these are the numbers of the pass."""
        return all(
            of_call.shape == cached.shape and torch.equal(of_call[:, :, -new.shape[2] :], new)
            for of_call, cached, new in (
                (keys, self.keys, self.key),
                (values, self.values, self.value),
            )
        )


@dataclass
class Recording:
    """Attention weights of the target layers of one forward pass, and handles on their gradients.

    Two kinds, one result:

    - ``full=False`` (row and block): the weights stay out of the graph. A zero probe is added to
      each head's output; with g its gradient, dL/dA[r, j] = g[r] . v[j], one mat-vec over the value
      cache. Keys and values of other positions carry no gradient, a row's own do.
    - ``full=True`` (the reference): a zero probe is added to the weight matrix itself, so that its
      gradient is dL/dA, through every position of the sequence.

    Attributes:
        layers: target layers, ascending. The graph starts at the first of them.
        weights: per layer, the weights that the model used, shape (B, H, q, k), detached.
        values: per layer, shape (B, Hkv, k, d), detached (row and block only).
        probes: per layer, the tensor whose gradient is asked for.
        side_by_side: whether all rows of the pass stand at one position, candidates of it, and each
            sees what is before it and itself.
        own: per layer, new key and value of the pass, from
            :class:`~lvlmsal.attention.cache.RecordingCache`.
        edited_logits: what interventions made of the pass's logits (B, r, V), from which tokens are
            chosen; ``None`` where none edits them.
    """

    layers: Sequence[int]
    full: bool = False
    side_by_side: bool = False
    weights: dict[int, Tensor] = field(default_factory=dict, repr=False)
    values: dict[int, Tensor] = field(default_factory=dict, repr=False)
    probes: dict[int, Tensor] = field(default_factory=dict, repr=False)
    own: dict[int, Own] = field(default_factory=dict, repr=False)
    edited_logits: Tensor | None = field(default=None, repr=False)

    def clear(self) -> None:
        """Forget the last pass: another one begins."""
        for kept in (self.weights, self.values, self.probes, self.own):
            kept.clear()
        self.edited_logits = None

    def chosen_from(self, logits: Tensor) -> Tensor:
        """What tokens are chosen from after the pass, given its raw logits (B, r, V)."""
        return logits.detach() if self.edited_logits is None else self.edited_logits

    def own_of(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """New key and value of the pass (B, Hkv, m, d) among those that a layer attends to.

        They are those of another layer where layers share them.

        Args:
            layer: its index.
            keys: of the attention call, (B, Hkv, k, d).
            values: likewise.

        Raises:
            UnsupportedError: the call attends to something else than what was cached.
        """
        for own in self.own.values():
            if own.keys is keys and own.values is values:
                return own.key, own.value
        if layer in self.own and self.own[layer].is_in(keys, values):  # they were copied
            return self.own[layer].key, self.own[layer].value
        if not self.own:
            raise UnsupportedError(
                "this pass has no RecordingCache, which tells a recording what is new: use "
                "block_saliency, which makes one, or record(..., full=True)"
            )
        raise UnsupportedError(
            f"layer {layer} attends to keys or values that are not those that it caches, as in "
            f"differential, latent and cross attention: their gradients by row are not known, so "
            f"saliency and decoders that use it are not for this model"
        )

    def gradients(
        self, logits: Tensor, direction: Tensor, scale: Tensor, *, retain_graph: bool = False
    ) -> dict[int, Tensor]:
        """dL/dA of each target layer, shape (B, H, q, k), L the sum of the rows' losses.

        Rows do not mix, nor do samples, so one backward pass serves the losses of all of them.

        Args:
            logits: of this pass, with their graph, shape (B, V) or (B, m, V).
            direction: dL/dlogits up to a factor, same shape.
            scale: that factor, shape (B,) or (B, m); applied in float32 or better.
            retain_graph: whether other losses follow.
        """
        probes = [self.probes[layer] for layer in self.layers]
        found = torch.autograd.grad(
            logits, probes, direction.to(logits.dtype), retain_graph=retain_graph
        )
        rows = scale.reshape(len(scale), 1, -1, 1)
        if self.full:
            return {
                layer: grad * rows.to(grad.device)
                for layer, grad in zip(self.layers, found, strict=True)
            }
        return {
            layer: _against_values(grad, self.values[layer]) * rows.to(grad.device)
            for layer, grad in zip(self.layers, found, strict=True)
        }


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Gradients of what a pass computes, and of no weight: those would start its graph too early.

    Raises:
        UnsupportedError: under ``torch.inference_mode``, which knows no gradients.
    """
    if torch.is_inference_mode_enabled():
        raise UnsupportedError(
            "saliency needs gradients, which torch.inference_mode() rules out: call it outside "
            "of it, or under torch.no_grad()"
        )
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    try:
        for weight in trainable:
            weight.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for weight in trainable:
            weight.requires_grad_(True)


def _against_values(grad: Tensor, values: Tensor) -> Tensor:
    """g[r] . v[j] for grouped heads: (B, H, q, d) with (B, Hkv, k, d) to (B, H, q, k)."""
    batch, heads, rows, width = grad.shape
    grouped = grad.reshape(batch, values.shape[1], -1, width)
    return (grouped @ values.transpose(2, 3)).reshape(batch, heads, rows, values.shape[2])
