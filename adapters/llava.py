"""LLaVA-1.5: a fixed number of visual tokens for every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("LlavaForConditionalGeneration")
class LlavaAdapter(ModelAdapter):
    """LLaVA-1.5 and models in its format, whose tower sees square images of one size."""

    architectures = ("LlavaForConditionalGeneration",)
    family = "LLaVA-1.5"
    summary = "LLaVA-1.5 and its family: one square image size, a fixed number of visual tokens"
    paper = "Improved Baselines with Visual Instruction Tuning"
    url = "https://arxiv.org/abs/2310.03744"

    def __init__(self, model: PreTrainedModel, processor: Any | None = None) -> None:
        super().__init__(model, processor)
        if model.config.vision_config.model_type == "pixtral":
            raise UnsupportedError(
                "this LLaVA has a Pixtral tower, whose images are broken up row by row by other "
                "tokens: no adapter reads such spans yet"
            )

    @property
    def tokens_per_image(self) -> int:
        """Patches of the tower's input; one more where its class token is kept."""
        rows, columns = self._grid()
        full = self.model.config.vision_feature_select_strategy == "full"
        has_class_token = self.model.config.vision_config.model_type == "clip_vision_model"
        # "default" drops the first feature, whatever it is.
        return rows * columns + int(has_class_token) - int(not full)

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Check that the processor wrote as many placeholders as the model makes visual tokens.

        Raises:
            UnsupportedError: It did not, as processors do that lack some of their settings.
        """
        images = inputs["pixel_values"].shape[0] if "pixel_values" in inputs else 0
        written = int((inputs["input_ids"] == self.model.config.image_token_id).sum())
        if written != images * self.tokens_per_image:
            vision = self.model.config.vision_config
            raise UnsupportedError(
                f"the processor wrote {written} placeholders for {images} image(s), of which the "
                f"model makes {self.tokens_per_image} visual tokens each. Set in the processor: "
                f"patch_size={vision.patch_size}, num_additional_image_tokens=1, "
                "vision_feature_select_strategy="
                f"{self.model.config.vision_feature_select_strategy!r}"
            )
        return inputs

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int]]:
        """Every image has the grid of the tower; see the base class."""
        return [self._grid() for sample in spans for _ in sample.images]

    def _grid(self) -> tuple[int, int]:
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size
        return (side, side)
