"""What a recorded pass keeps, and the gradient of the attention weights that follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lvlmsal.errors import UnsupportedError


@dataclass
class Tape:
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
        own: per layer, new key and value of the pass with their graph, from
            :class:`~lvlmsal.attention.cache.RecordingCache`.
        edited_logits: what interventions made of the pass's logits (B, r, V), from which tokens are
            chosen; ``None`` where none edits them.
    """

    layers: Sequence[int]
    full: bool = False
    weights: dict[int, Tensor] = field(default_factory=dict, repr=False)
    values: dict[int, Tensor] = field(default_factory=dict, repr=False)
    probes: dict[int, Tensor] = field(default_factory=dict, repr=False)
    own: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)
    edited_logits: Tensor | None = field(default=None, repr=False)

    def chosen_from(self, logits: Tensor) -> Tensor:
        """What tokens are chosen from after the pass, given its raw logits (B, r, V)."""
        return logits.detach() if self.edited_logits is None else self.edited_logits

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
