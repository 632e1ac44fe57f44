"""What a model would say of a state of its residual stream: its last norm and output projection."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.errors import UnsupportedError


def final_norm(adapter: ModelAdapter) -> nn.Module:
    """The norm behind the last layer of the text decoder.

    Raises:
        UnsupportedError: The decoder has none of the name ``norm``.
    """
    norm = getattr(adapter.decoder, "norm", None)
    if not isinstance(norm, nn.Module):
        raise UnsupportedError(
            f"{type(adapter.decoder).__name__} has no last norm of the name `norm`, so what its "
            "inner layers would say cannot be read"
        )
    return norm


def inner_logits(
    adapter: ModelAdapter, states: Tensor, *, norm: bool, tokens: Tensor | None = None
) -> Tensor:
    """Logits of inner layers (the logit lens), from states before the last norm.

    Behind the last layer and with the norm they are the model's own logits; the adapters' kit
    checks that, for some families scale theirs. Those that cap them (Gemma 2) do so here, too.

    Args:
        adapter: Of the model.
        states: Shape (..., D).
        norm: Whether the states pass the last norm first.
        tokens: Of the vocabulary, shape (n,); None for all of it. A plain projection multiplies
            with these rows only; another one (quantized, or with an adapter on it) with all.

    Returns:
        Shape (..., V), or (..., n).

    Raises:
        UnsupportedError: `norm` is set, and the decoder has none.
    """
    if norm:
        states = final_norm(adapter)(states)
    logits = _projected(adapter.lm_head, states, tokens)
    cap = getattr(adapter.text_config, "final_logit_softcapping", None)
    return logits if cap is None else cap * (logits / cap).tanh()


def _projected(head: nn.Module, states: Tensor, tokens: Tensor | None) -> Tensor:
    weight = getattr(head, "weight", None)
    # A projection kept in a wider dtype than the layers; quantized weights take what they get.
    if isinstance(weight, Tensor) and weight.is_floating_point():
        states = states.to(weight.dtype)
    if tokens is None:
        return cast(Tensor, head(states))
    if type(head) is nn.Linear and not head.weight.is_meta:
        device = head.weight.device
        rows = tokens.to(device)
        bias: Tensor | None = getattr(head, "bias", None)
        few = None if bias is None else bias[rows]
        return functional.linear(states.to(device), head.weight[rows], few)
    return cast(Tensor, head(states))[..., tokens]
