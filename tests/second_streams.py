"""Two streams by hand: both sequences are run again at each step, one sample at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.attention.prompt import Prompt
from lvlmsal.testing.tiny import IMAGE, IMAGE_END, IMAGE_START, VIDEO
from tests import reference

BANNED = [2, IMAGE, VIDEO]
"""The end of sequence, so that all answers are of one length, and placeholders."""

Combine = Callable[[Tensor, Tensor, int], Tensor]
"""From both logits (V,) and the number of tokens before to those that are chosen from."""


def prompt_of(model: PreTrainedModel | ModelAdapter, inputs: Mapping[str, Tensor]) -> Prompt:
    """The prompt that a session would hand to an intervention."""
    adapter = model if isinstance(model, ModelAdapter) else adapter_for(model)
    spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    return Prompt(adapter, spans, dict(inputs), lambda *_, **__: None)


def following(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], answer: Sequence[int]
) -> Tensor:
    """Plain logits (V,) of what follows an answer to an unpadded prompt."""
    with torch.no_grad():
        logits: Tensor = model(**reference.longer(dict(inputs), answer)).logits
    return logits[0, -1]


def combined(
    model: PreTrainedModel,
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    combine: Combine,
    answer: Sequence[int],
) -> Tensor:
    """What each token of an answer is chosen from, (T, V)."""
    rows = []
    for step in range(len(answer)):
        both = [following(model, inputs, answer[:step]) for inputs in (first, second)]
        rows.append(combine(*both, step))
    return torch.stack(rows)


def beam_search(
    model: PreTrainedModel,
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    combine: Combine,
    *,
    beams: int,
    steps: int,
) -> list[int]:
    """The best answer of exactly so many tokens, by a plain search."""
    alive: list[tuple[float, list[int]]] = [(0.0, [])]
    for step in range(steps):
        longer = []
        for score, answer in alive:
            both = [following(model, inputs, answer) for inputs in (first, second)]
            log_probs = combine(*both, step).log_softmax(-1)
            log_probs[BANNED] = -torch.inf
            best, tokens = log_probs.topk(beams)
            for gained, token in zip(best.tolist(), tokens.tolist(), strict=True):
                longer.append((score + gained, [*answer, token]))
        alive = sorted(longer, key=lambda beam: -beam[0])[:beams]
    return alive[0][1]


def decode(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], steps: int = 4, **options: Any
) -> tuple[Tensor, Tensor]:
    """Generated tokens (B, T), and with greedy decoding the logits (B, T, V) of each."""
    generative: Any = model
    chosen: dict[str, Any] = {"do_sample": False, "max_new_tokens": steps}
    chosen |= {"output_logits": True, "return_dict_in_generate": True, "suppress_tokens": BANNED}
    output = generative.generate(**inputs, **{**chosen, **options})
    logits = torch.stack(output.logits, dim=1)
    return output.sequences[:, inputs["input_ids"].shape[1] :], logits


def without_images(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An unpadded prompt less its visual tokens and the marks around them."""
    gone = {IMAGE, VIDEO, IMAGE_START, IMAGE_END}
    ids = torch.tensor([[token for token in inputs["input_ids"][0].tolist() if token not in gone]])
    found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in inputs:
        found["mm_token_type_ids"] = torch.zeros_like(ids)
    return found


def close(found: Tensor, wanted: Tensor) -> bool:
    """Whether logits agree: generate hands them out in float32, and a ban is a ban in both."""
    return torch.allclose(found.double(), wanted.double(), rtol=1e-5, atol=1e-5)
