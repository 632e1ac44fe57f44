"""What a user would otherwise run to get the saliency of an answer's tokens.

Nothing here is anyone's code. The paper's way is written again from its description, as a baseline
to time; the package vl-saliency is called where it is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import adapter_for


@contextmanager
def as_loaded(model: PreTrainedModel) -> Iterator[None]:
    """Weights that want gradients and attention that returns its matrices, as both ways need.

    Weights of a model want gradients when it is loaded. Attention is switched for the text decoder
    only, whose matrices are asked for.
    """
    before = model.config.text_config._attn_implementation
    model.requires_grad_(True)
    model.set_attn_implementation({"text_config": "eager"})
    try:
        yield
    finally:
        model.zero_grad(set_to_none=True)
        model.requires_grad_(False)
        model.set_attn_implementation({"text_config": before})


def paper_row(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    answer: Tensor,
    token: int,
    layers: Sequence[int],
) -> Tensor:
    """Saliency of one token the paper's way: the whole sequence, and gradients of its matrices.

    The token is appended, the sequence runs without a cache, all attention matrices are kept, and
    the loss -log p(token) is differentiated with respect to those of the target layers. Gradients
    of the weights, which a plain ``backward()`` would compute too, are left out. Row P - 1 is read:
    the one whose gradient is not zero.

    Args:
        model: inside :func:`as_loaded`.
        inputs: of one prompt.
        answer: ids, shape (1, T).
        token: index of the token that is judged.
        layers: target layers.

    Returns:
        Normalized saliency, shape (L, P).
    """
    extended = adapter_for(model).append(inputs, answer[:, : token + 1])
    outputs = model(**extended, use_cache=False, output_attentions=True)
    ids = extended["input_ids"]
    loss = torch.nn.functional.cross_entropy(_exact(outputs.logits[:, -2]), ids[:, -1])
    matrices = [outputs.attentions[layer] for layer in layers]
    gradients = torch.autograd.grad(loss, matrices)
    products = [
        _exact((matrix * gradient).detach()[0, :, -2, :-1]).abs().sum(0)
        for matrix, gradient in zip(matrices, gradients, strict=True)
    ]
    rows = torch.stack(products)
    return rows / rows.norm(dim=-1, keepdim=True)


def _exact(values: Tensor) -> Tensor:
    """In float32 or better."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def vl_saliency_trace(
    model: PreTrainedModel, inputs: Mapping[str, Any], answer: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention and gradient of one capture of vl-saliency, each (L, H, T, rows, columns).

    Its loss is the model's own: the mean over all tokens of the sequence, the prompt's among them.
    What it keeps are the rows of the answer's tokens and the columns of the image.

    Args:
        model: inside :func:`as_loaded`.
        inputs: of one prompt.
        answer: ids, shape (1, T).

    Raises:
        ImportError: the package is not installed.
    """
    from vl_saliency import SaliencyExtractor

    # It asks its processor for nothing but the padding token, which these prompts do not hold.
    processor = SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=0))
    extractor = SaliencyExtractor(model, processor)
    ids = torch.cat([inputs["input_ids"], answer.to(inputs["input_ids"])], dim=1)
    trace = extractor.capture(ids, **inputs)
    return trace.attn[0], trace.grad[0]


def vl_saliency_row(
    model: PreTrainedModel, inputs: Mapping[str, Any], answer: Tensor, token: int
) -> Tensor:
    """|attention * gradient| of a token's predicting row over the image, summed over heads.

    Shape (L, n), n visual tokens.

    A capture of the sequence that ends with the token: the row before it then reaches the loss of
    this token alone, so that its gradient is the token's own, but for a constant factor.
    """
    attention, gradient = vl_saliency_trace(model, inputs, answer[:, : token + 1])
    return (attention * gradient)[:, :, token - 1].abs().sum(1).flatten(1)
