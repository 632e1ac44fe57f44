"""PaliGemma: a question behind its images, without a chat template, in a prefix-LM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import PreTrainedConfig

from lvlmsal.adapters.llava import SquareImagesAdapter
from lvlmsal.adapters.messages import Prompt
from lvlmsal.adapters.prompts import plain_question
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("PaliGemmaForConditionalGeneration")
class PaliGemmaAdapter(SquareImagesAdapter):
    """PaliGemma: images, the begin token, the question and a line break."""

    architectures = ("PaliGemmaForConditionalGeneration",)
    family = "PaliGemma"
    summary = "PaliGemma: one square image size; no chat template, no turns"
    paper = "PaliGemma: A versatile 3B VLM for transfer"
    url = "https://arxiv.org/abs/2407.07726"

    def render(self, prompt: Prompt, count: int, *, system: str | None = None) -> str:
        """Images, the begin token, the question, a line break; see the base class."""
        mark = self.image_mark
        images, question = plain_question(prompt, count, mark=mark, system=system)
        return f"{mark * images}{self.tokenizer.bos_token}{question}\n"

    def process(
        self, texts: Sequence[str], images: Sequence[Sequence[Image.Image]]
    ) -> Mapping[str, Any]:
        """What its processor does with texts that begin so, also for a question without images."""
        processor = self.require_processor()
        mark, flat = self.image_mark, [picture for pictures in images for picture in pictures]
        inputs = processor.tokenizer(
            [text.replace(mark, mark * processor.image_seq_length) for text in texts],
            padding=len(texts) > 1,
            padding_side="left",
            add_special_tokens=False,
            return_tensors="pt",
        )
        pixels = processor.image_processor(flat, return_tensors="pt") if flat else {}
        return {**inputs, **pixels}

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """All tokens of a prompt are of type 0, by which they see one another."""
        kinds = inputs["input_ids"].new_zeros(inputs["input_ids"].shape)
        return super().complete({**inputs, "token_type_ids": inputs.get("token_type_ids", kinds)})


@ADAPTERS.register("PaliGemmaForConditionalGeneration/gemma2")
class PaliGemma2Adapter(PaliGemmaAdapter):
    """PaliGemma 2, whose decoder caps scores and has layers with a window."""

    family = "PaliGemma 2"
    summary = "PaliGemma 2: as PaliGemma, with the decoder of Gemma 2"
    paper = "PaliGemma 2: A Family of Versatile VLMs for Transfer"
    url = "https://arxiv.org/abs/2412.03555"

    @classmethod
    def takes(cls, config: PreTrainedConfig) -> bool:
        """See the base class."""
        return bool(config.text_config.model_type == "gemma2")
