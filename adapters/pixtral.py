"""Pixtral and Mistral 3: images of any size, and a mark behind each row of patches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor
from transformers import PreTrainedConfig

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Mistral3ForConditionalGeneration")
class Mistral3Adapter(ModelAdapter):
    """Mistral Small 3.1 and newer: patches of any number, merged in blocks."""

    architectures = ("Mistral3ForConditionalGeneration",)
    family = "Mistral 3"
    summary = "Mistral Small 3.1 and newer: images of any size, a mark behind each row of patches"
    paper = "Pixtral 12B"
    url = "https://arxiv.org/abs/2410.07073"
    image_inputs = ("image_sizes",)

    @property
    def merge(self) -> int:
        """Side of the blocks of patches that become one visual token."""
        return int(self.model.config.spatial_merge_size)

    def within_image(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """One mark ends a row, another one the image."""
        return len(gap) == 1 and gap[0] not in closing

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """With the mark that ends the image; none begins it."""
        start, end = image
        return start, min(len(ids), end + 1)

    def pixel_units(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Each image without the zeros that bring it to the size of the largest."""
        if "pixel_values" not in inputs:
            return []
        pairs = zip(inputs["pixel_values"], inputs["image_sizes"].tolist(), strict=True)
        return [pixels[:, :height, :width] for pixels, (height, width) in pairs]

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int] | None]:
        """Blocks of patches of each image; see the base class."""
        side = self.model.config.vision_config.patch_size * self.merge
        sizes = inputs["image_sizes"].tolist() if "image_sizes" in inputs else []
        return [(height // side, width // side) for height, width in sizes]


@ADAPTERS.register("LlavaForConditionalGeneration/pixtral")
class PixtralAdapter(Mistral3Adapter):
    """Pixtral, which has the class of LLaVA in transformers and another tower."""

    architectures = ("LlavaForConditionalGeneration",)
    family = "Pixtral"
    summary = "Pixtral: images of any size, a mark behind each row of patches"

    @classmethod
    def takes(cls, config: PreTrainedConfig) -> bool:
        """See the base class."""
        return bool(config.vision_config.model_type == "pixtral")

    @property
    def merge(self) -> int:
        """Patches are not merged."""
        return 1
