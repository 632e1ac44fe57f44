"""What ``generate`` prepares for its decoding loop, handed to a function of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor
from transformers import PreTrainedModel

T = TypeVar("T")


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
