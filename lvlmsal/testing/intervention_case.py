"""What the checks of interventions are run on: one intervention on one tiny random model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.interventions.base import Intervention
from lvlmsal.testing.checks import own_cache
from lvlmsal.testing.tiny import IMAGE, VIDEO, TinySample, collate

STEPS: Final = 5
"""Tokens that are decoded in each check."""


@dataclass
class InterventionCase:
    """One intervention on one tiny random model.

    Attributes:
        intervention: With options under which it changes the model.
        identity: The same with options that switch it off, if there are such.
        model: In float32; its text decoder is on sdpa.
        samples: Two unpadded samples of different lengths, with one image and with none.
        processor: Of the model, for interventions that put words into the prompt.
        family: Key of :data:`~lvlmsal.testing.tiny.TINY` or `FURTHER`.
        options: What the object held before the first check.
    """

    intervention: Intervention
    identity: Intervention | None
    model: PreTrainedModel
    samples: list[TinySample]
    processor: Any = None
    family: str = ""
    options: Mapping[str, Any] | None = None

    @property
    def adapter(self) -> ModelAdapter:
        """Of the model, with its processor."""
        return adapter_for(self.model, self.processor)

    @property
    def batch(self) -> dict[str, Tensor]:
        """Both samples, padded at the left."""
        return collate(self.samples)

    def logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (B, L, V) of a plain pass."""
        with torch.no_grad():
            logits: Tensor = self.model(**inputs).logits
        return logits

    def step_logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (B, V) that predict the last of three decoded tokens."""
        generative: Any = type(self.model)  # a mixin has `generate`
        wanted: dict[str, Any] = {"output_logits": True, "return_dict_in_generate": True}
        wanted |= own_cache(self.adapter, {})
        wanted |= {"do_sample": False, "max_new_tokens": 3, "suppress_tokens": [2]}
        output = generative.generate(self.model, **inputs, **wanted)
        logits: Tensor = output.logits[-1]
        return logits

    def decode(self, inputs: dict[str, Tensor], **options: Any) -> Tensor:
        """Tokens (B, T) that the model's own generate makes."""
        # Without a cache transformers would look for the pixels of a generated image token.
        banned = [IMAGE, VIDEO, 2]
        generative: Any = type(self.model)  # a mixin has `generate`
        chosen = {"do_sample": False, "max_new_tokens": STEPS, "suppress_tokens": banned}
        chosen |= options | own_cache(self.adapter, options)
        ids: Tensor = generative.generate(self.model, **inputs, **chosen)
        return ids[:, inputs["input_ids"].shape[1] :]
