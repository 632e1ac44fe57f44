"""Attention written out, for tests that put a rule of their own into it, and their decoding.

No code is shared with the library's attention: the whole sequence at once, no cache, and the rule
makes the weights of each layer from the scores and from what the mask lets through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from lvlmsal.attention.place import is_aside
from lvlmsal.testing.tiny import IMAGE, VIDEO

NAME = "attention_by_hand_of_the_tests"

Rule = Callable[[Tensor, Tensor, int], Tensor]
"""From scores (B, H, n, n), what is visible (B, 1, n, n) and the layer to weights (B, H, n, n)."""

_rules: list[Rule] = []


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    assert query.shape[2] == key.shape[2], "it runs without a cache"
    assert attention_mask is not None
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    scores = query @ key.transpose(2, 3) * scaling
    weights = _rules[-1](scores, attention_mask == 0, int(module.layer_idx))
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, eager_mask)


@contextmanager
def attention_by_hand(model: PreTrainedModel, rule: Rule) -> Iterator[None]:
    """The text decoder of a model under a rule."""
    _rules.append(rule)
    model.set_attn_implementation({"text_config": NAME})
    try:
        yield
    finally:
        _rules.pop()
        model.set_attn_implementation({"text_config": "sdpa"})


def decode(
    model: PreTrainedModel, batch: dict[str, Tensor], steps: int = 4, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """New tokens (B, T) and the edited logits that chose them (B, T, V), in the model's dtype."""
    logits: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: Any) -> None:
        if not is_aside():  # a second stream is a pass of the same model
            logits.append(output.logits[:, -1])

    hook = model.register_forward_hook(keep)
    # Without a cache transformers would look for the pixels of a generated image token.
    plain = {"max_new_tokens": steps, "do_sample": False, "suppress_tokens": [2, IMAGE, VIDEO]}
    try:
        generative: Any = model
        ids = generative.generate(**batch, **plain, **kwargs)
    finally:
        hook.remove()
    return ids[:, batch["input_ids"].shape[1] :], torch.stack(logits, dim=1)
