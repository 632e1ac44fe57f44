"""LLaVA-1.5 and what shares its form: a fixed number of visual tokens for every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedConfig

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.boxes import grid_boxes
from lvlmsal.adapters.processors import ImageOnlyVideoLlavaProcessor
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.towers import Tower
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


class SquareImagesAdapter(ModelAdapter):
    """A family whose tower sees square images of one size, each patch a visual token."""

    @property
    def tokens_per_image(self) -> int | None:
        """Patches of the tower's input."""
        vision = self.model.config.vision_config
        return int(vision.image_size // vision.patch_size) ** 2

    @property
    def processor_options(self) -> str:
        """What to set in a processor that writes another number of placeholders."""
        return f"num_image_tokens={self.tokens_per_image}"

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Check that the processor wrote as many placeholders as the model makes visual tokens.

        Raises:
            UnsupportedError: It did not, as processors do that lack some of their settings.
        """
        images = inputs["pixel_values"].shape[0] if "pixel_values" in inputs else 0
        written = int((inputs["input_ids"] == self.model.config.image_token_id).sum())
        each = self.tokens_per_image
        if each is not None and written != images * each:
            raise UnsupportedError(
                f"the processor wrote {written} placeholders for {images} image(s), of which the "
                f"model makes {each} visual tokens each. Set in the processor: "
                f"{self.processor_options}"
            )
        return inputs

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> Sequence[tuple[int, int] | None]:
        """Every image has the grid of the tower, which is square; see the base class."""
        sides = (isqrt(end - start) for sample in spans for start, end in sample.images)
        return [(side, side) for side in sides]


@ADAPTERS.register("LlavaForConditionalGeneration")
class LlavaAdapter(SquareImagesAdapter):
    """LLaVA-1.5 and models in its format, whose tower sees square images of one size."""

    architectures = ("LlavaForConditionalGeneration",)
    family = "LLaVA-1.5"
    summary = "LLaVA-1.5 and its family: one square image size, a fixed number of visual tokens"
    paper = "Improved Baselines with Visual Instruction Tuning"
    url = "https://arxiv.org/abs/2310.03744"

    @classmethod
    def takes(cls, config: PreTrainedConfig) -> bool:
        """Pixtral has the same class, and a tower that sees images of any size."""
        return bool(config.vision_config.model_type != "pixtral")

    @property
    def tokens_per_image(self) -> int:
        """Patches of the tower's input; one more where its class token is kept."""
        vision = self.model.config.vision_config
        full = self.model.config.vision_feature_select_strategy == "full"
        has_class_token = vision.model_type == "clip_vision_model"
        # "default" drops the first feature, whatever it is.
        patches = int(vision.image_size // vision.patch_size) ** 2
        return patches + int(has_class_token) - int(not full)

    @property
    def tower(self) -> Tower:
        """See the base class."""
        return Tower.of(self.model)

    def seen_part(self, picture: Image.Image) -> Image.Image:
        """All of it, on a square, where the processor pads images; see the base class."""
        processor = self.require_processor().image_processor
        if not getattr(processor, "do_pad", False):
            return super().seen_part(picture)
        width, height = picture.size
        side = max(width, height)
        color = tuple(int(share * 255) for share in processor.image_mean)
        square = Image.new("RGB", (side, side), color)
        square.paste(picture, ((side - width) // 2, (side - height) // 2))
        return square

    @property
    def processor_options(self) -> str:
        """See the base class."""
        config = self.model.config
        return (
            f"patch_size={config.vision_config.patch_size}, num_additional_image_tokens=1, "
            f"vision_feature_select_strategy={config.vision_feature_select_strategy!r}"
        )


@ADAPTERS.register("VipLlavaForConditionalGeneration")
class VipLlavaAdapter(SquareImagesAdapter):
    """ViP-LLaVA: LLaVA with features of several layers of its tower."""

    architectures = ("VipLlavaForConditionalGeneration",)
    family = "ViP-LLaVA"
    summary = "ViP-LLaVA: LLaVA-1.5 with features of several layers of its tower"
    paper = "ViP-LLaVA: Making Large Multimodal Models Understand Arbitrary Visual Prompts"
    url = "https://arxiv.org/abs/2312.00784"
    processor_options = "num_additional_image_tokens=1, vision_feature_select_strategy='default'"


@ADAPTERS.register("VideoLlavaForConditionalGeneration")
class VideoLlavaAdapter(SquareImagesAdapter):
    """Video-LLaVA: images and videos have towers of their own.

    Of a frame the class token is kept, before its patches; it is nowhere on the picture.
    """

    architectures = ("VideoLlavaForConditionalGeneration",)
    family = "Video-LLaVA"
    summary = "Video-LLaVA: LLaVA-1.5 with a tower for images, and another one for videos"
    paper = "Video-LLaVA: Learning United Visual Representation by Alignment Before Projection"
    url = "https://arxiv.org/abs/2311.10122"
    image_only_processor = ImageOnlyVideoLlavaProcessor
    takes_videos = True
    stacks_videos = True
    processor_options = "num_additional_image_tokens=1, vision_feature_select_strategy='default'"

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int] | None]:
        """None for a video; see :meth:`patch_boxes`."""
        side = isqrt(self.tokens_per_image or 0)
        return [
            None if image in self.videos_among(ids, sample) else (side, side)
            for ids, sample in zip(inputs["input_ids"], spans, strict=True)
            for image in range(len(sample.images))
        ]

    def patch_boxes(
        self, inputs: Mapping[str, Tensor], row: int, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor | None]:
        """Of each frame of a video, the class token and the grid; see the base class."""
        sample = self.spans(inputs["input_ids"], inputs.get("attention_mask"))[row]
        videos = self.videos_among(inputs["input_ids"][row], sample)
        side = isqrt(self.tokens_per_image or 0)
        grid = grid_boxes(side, side)
        frame = torch.cat([grid.new_full((1, 4), torch.nan), grid])
        return [
            frame.repeat(len(sample.positions(image)) // len(frame), 1) if image in videos else None
            for image in range(len(sample.images))
        ]

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give pixels their present name: its image processor has an older one for them."""
        pixels = inputs.pop("pixel_values_images", None)
        return super().complete(inputs if pixels is None else {**inputs, "pixel_values": pixels})


@ADAPTERS.register("FastVlmForConditionalGeneration")
class FastVlmAdapter(SquareImagesAdapter):
    """FastVLM: LLaVA with a tower of convolutions, whose config does not say its grid."""

    architectures = ("FastVlmForConditionalGeneration",)
    family = "FastVLM"
    summary = "FastVLM: a tower of convolutions that makes few visual tokens of a large image"
    paper = "FastVLM: Efficient Vision Encoding for Vision Language Models"
    url = "https://arxiv.org/abs/2412.13303"
    processor_options = "patch_size=64, num_additional_image_tokens=0"

    @property
    def tokens_per_image(self) -> int | None:
        """What the processor writes; None without one."""
        if self.processor is None:
            return None
        crop = self.processor.image_processor.crop_size
        patch = self.processor.patch_size
        return int(crop["height"] // patch) * int(crop["width"] // patch)
