"""What the checks of decoders are run on: one decoder on one tiny random model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.decoders.base import Decoder
from lvlmsal.testing.checks import own_cache
from lvlmsal.testing.drawn import drawn_batch
from lvlmsal.testing.tiny import TinySample, collate

STEPS: Final = 5
"""Tokens that are decoded in each check."""
PAD: Final = 3
"""Not 0: beam search fills with the end of sequence then."""
END: Final = 2
"""The end of sequence of tiny models."""


@dataclass
class DecoderCase:
    """One decoder on one tiny random model.

    Attributes:
        decoder: Under test.
        greedy: The same class with options under which it is greedy search, if there are such.
        model: In float64, so that rounding decides nothing.
        samples: Four unpadded samples with zero to two images.
        family: Key of :data:`~lvlmsal.testing.tiny.TINY` or `FURTHER`.
    """

    decoder: Decoder
    greedy: Decoder | None
    model: PreTrainedModel
    samples: list[TinySample]
    family: str = ""

    @property
    def vocabulary(self) -> int:
        """How many ids there are."""
        return int(cast(Any, self.model.config).get_text_config().vocab_size)

    @property
    def batch(self) -> dict[str, Tensor]:
        """All samples, padded at the left."""
        return collate(self.samples)

    def run(
        self, inputs: dict[str, Tensor], kwargs: dict[str, Any] | None = None, **options: Any
    ) -> Tensor:
        """Prompts and answers, (B, L + T).

        Args:
            inputs: Of the model.
            kwargs: Of the decoder; its `generate_kwargs()` by default.
            **options: Of generate. End of sequence is banned unless `suppress_tokens` is given.
        """
        chosen = {"max_new_tokens": STEPS, "suppress_tokens": [END], "pad_token_id": PAD}
        chosen |= options | own_cache(adapter_for(self.model), options)
        generative: Any = type(self.model)  # a mixin has `generate`
        own = self.kwargs() if kwargs is None else kwargs
        raw = self.raw(inputs) if "custom_generate" in own else {}
        chosen |= {**own, **raw, "return_dict_in_generate": True}
        output = generative.generate(self.model, **inputs, **chosen)
        ids = getattr(output, "sequences", None)
        assert isinstance(ids, Tensor), (
            f"with return_dict_in_generate=True it returned {type(output).__name__}, expected an "
            "object with the ids as `sequences`: return "
            "transformers.generation.GenerateDecoderOnlyOutput(sequences=ids)"
        )
        return ids

    def raw(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        """What a decoder that sees images is given of them, as `Lvlm.generate` does."""
        if not self.decoder.sees_images:
            return {}
        return {"asked": drawn_batch(adapter_for(self.model), inputs)}

    def kwargs(self, decoder: Decoder | None = None, **given: Any) -> dict[str, Any]:
        """The `generate_kwargs` of a decoder, by default of the one under test."""
        chosen = decoder or self.decoder
        found: object = chosen.generate_kwargs(**given)
        assert isinstance(found, dict), (
            f"{type(chosen).__name__}.generate_kwargs returned {type(found).__name__}, expected a "
            "dictionary of arguments of model.generate, such as {'do_sample': False}"
        )
        return found

    def answers(self, inputs: dict[str, Tensor], *args: Any, **options: Any) -> Tensor:
        """What stands after the prompts, (B, T)."""
        return self.run(inputs, *args, **options)[:, inputs["input_ids"].shape[1] :]
