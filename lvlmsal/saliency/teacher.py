"""Running a given answer through a model with the inputs that ``generate`` would prepare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

T = TypeVar("T")

_TOKEN_TYPES = ("token_type_ids", "mm_token_type_ids")


def with_response(inputs: Mapping[str, Any], response: Tensor) -> dict[str, Any]:
    """Model inputs of prompt and answer together.

    Args:
        inputs: what a processor returns: ``input_ids`` (B, L) and whatever belongs to the images.
        response: ids of the answer, shape (B, T), the same length for all samples.

    Returns:
        The same inputs with every tensor that runs along the tokens extended by T.
    """
    ids = inputs["input_ids"]
    mask = inputs.get("attention_mask")
    response = response.to(ids)
    extended = dict(inputs)
    extended["input_ids"] = torch.cat([ids, response], dim=1)
    mask = torch.ones_like(ids) if mask is None else mask
    extended["attention_mask"] = torch.cat([mask, torch.ones_like(response)], dim=1)
    for name in _TOKEN_TYPES:
        if inputs.get(name) is not None:
            extended[name] = torch.cat([inputs[name], torch.zeros_like(response)], dim=1)
    return extended


def prepared(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    run: Callable[[Tensor, dict[str, Any]], T],
) -> T:
    """Call ``run(input_ids, model_kwargs)`` with what ``generate`` prepares for its decoding loop.

    Positions, token types and image features differ from family to family; this way they are
    transformers' own, and the same as in decoding.
    """
    results: list[T] = []

    def loop(
        model: PreTrainedModel,
        input_ids: Tensor,
        logits_processor: object,
        stopping_criteria: object,
        generation_config: object,
        **model_kwargs: Any,
    ) -> Tensor:
        results.append(run(input_ids, model_kwargs))
        return input_ids

    generative: Any = model  # `generate` comes from a mixin of the concrete classes
    generative.generate(
        **inputs, custom_generate=loop, max_new_tokens=1, do_sample=False, num_beams=1
    )
    return results[0]
