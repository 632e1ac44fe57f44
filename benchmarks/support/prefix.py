"""The prompt's prefill, done once and handed to every run that begins with the same prompt."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from lvlmsal.versions import CACHE, given_cache

ENCODED = ("pixel_values", "mm_encoder_outputs")
PER_TOKEN = ("position_ids", "mm_token_type_ids", "token_type_ids")


@dataclass
class Prefills:
    """When the model was handed a prompt.

    Attributes:
        ended: time at which each prefill had ended, in seconds of ``time.perf_counter``.
    """

    ended: list[float] = field(default_factory=list)


@contextmanager
def shared_prefix(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Iterator[Prefills]:
    """While it is open, a prefill of these inputs copies its keys and values and runs one token.

    Prefills of long prompts would take most of a benchmark of decode steps. Whoever calls the
    model goes the way that it always goes, hooks and caches included; only the first pass is cut
    short, to its last token. An intervention would leave other numbers in the cache, which costs
    neither more nor less.

    Args:
        model: any transformers model that decodes with a cache.
        inputs: of one batch, unpadded and alike.

    Yields:
        When the prefills ended.
    """
    length, batch = inputs["input_ids"].shape[1], inputs["input_ids"].shape[0]
    one = {name: value[: len(value) // batch] for name, value in inputs.items()}
    cache = DynamicCache()
    with torch.no_grad():
        model(**one, **{CACHE: cache}, use_cache=True, logits_to_keep=1)
    cache.crop(-1)
    stored = [(layer.keys, layer.values) for layer in cache.layers]
    prefills, forward = Prefills(), model.forward

    @wraps(forward)
    def answered(*args: Any, **kwargs: Any) -> Any:
        cache, ids = given_cache(kwargs), kwargs.get("input_ids")
        known = cache is not None and ids is not None and ids.shape[1] == length
        if not known or cache.get_seq_length():
            return forward(*args, **kwargs)
        for index, (keys, values) in enumerate(stored):
            cache.update(keys.repeat(batch, 1, 1, 1), values.repeat(batch, 1, 1, 1), index)
        kept = {name: value for name, value in kwargs.items() if name not in ENCODED}
        kept["input_ids"] = ids[:, -1:]
        for name in PER_TOKEN:
            if kept.get(name) is not None:
                kept[name] = kept[name][..., -1:]
        outputs = forward(*args, **kept)
        if outputs.logits.is_cuda:
            torch.cuda.synchronize()
        prefills.ended.append(time.perf_counter())
        return outputs

    model.forward = answered  # type: ignore[method-assign]  # for the time of the block
    try:
        yield prefills
    finally:
        del model.forward
