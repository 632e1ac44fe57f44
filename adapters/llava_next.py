"""LLaVA-NeXT and LLaVA-OneVision: the whole image, then its tiles row by row with row ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers.models.llava_next import modeling_llava_next

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.boxes import grid_boxes, with_row_ends
from lvlmsal.adapters.processors import (
    ImageOnlyLlavaNextVideoProcessor,
    ImageOnlyLlavaOnevisionProcessor,
)
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.towers import Tower
from lvlmsal.registry import ADAPTERS

_hf: Any = modeling_llava_next  # whose functions have no types


@ADAPTERS.register("LlavaNextForConditionalGeneration")
class LlavaNextAdapter(ModelAdapter):
    """LLaVA-NeXT (1.6): the image as a square, and its tiles as one large grid."""

    architectures = ("LlavaNextForConditionalGeneration",)
    family = "LLaVA-NeXT"
    summary = "LLaVA-NeXT (1.6): the whole image and tiles of it, a token behind each row"
    paper = "LLaVA-NeXT: Improved reasoning, OCR, and world knowledge"
    url = "https://arxiv.org/abs/2310.03744"
    image_inputs = ("image_sizes",)

    @property
    def tower(self) -> Tower:
        """See the base class."""
        return Tower.of(self.model)

    def pixel_units(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Each tile; `pixel_values` has those of each image in a row of its own."""
        return [tile for image in super().pixel_units(inputs) for tile in image]

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int] | None]:
        """None: two grids follow one another; see :meth:`patch_boxes`."""
        return [None for sample in spans for _ in sample.images]

    @property
    def frame_side(self) -> int:
        """Side of the grid of visual tokens of a frame, whose patches are pooled 2 x 2."""
        vision = self.model.config.vision_config
        return int(vision.image_size // vision.patch_size) // 2

    def seen_part(self, picture: Image.Image) -> Image.Image:
        """All of it, whatever the processor's settings for a crop are."""
        return picture

    def patch_boxes(
        self, inputs: Mapping[str, Tensor], row: int, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor | None]:
        """The square over the picture, then its tiles, both over all of it; see the base class."""
        sample = self.spans(inputs["input_ids"], inputs.get("attention_mask"))[row]
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size
        whole = grid_boxes(side, side)
        boxes: list[Tensor | None] = []
        videos = self.videos_among(inputs["input_ids"][row], sample)
        for image, (width, height) in enumerate(sizes[: len(sample.images)]):
            if image in videos:
                frame = grid_boxes(self.frame_side, self.frame_side)
                count = (len(sample.positions(image)) - self.video_ends) // len(frame)
                ends = frame.new_full((self.video_ends, 4), torch.nan)
                boxes.append(torch.cat([*[frame] * count, ends]))
                continue
            if len(sample.positions(image)) == len(whole) + 1:  # it was not cut into tiles
                boxes.append(torch.cat([whole, whole.new_full((1, 4), torch.nan)]))
                continue
            rows, columns = self._unpadded(side, (height, width))
            boxes.append(torch.cat([whole, with_row_ends(grid_boxes(rows, columns), columns)]))
        return boxes

    def _unpadded(self, side: int, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of the grid of all tiles, less what the processor has padded."""
        config: Any = self.model.config
        tiles = _hf.get_anyres_image_grid_shape(
            size, config.image_grid_pinpoints, config.vision_config.image_size
        )
        grid = torch.empty(1, tiles[0] * side, tiles[1] * side)
        _, rows, columns = _hf.unpad_image(grid, size).shape
        return rows, columns


@ADAPTERS.register("LlavaNextVideoForConditionalGeneration")
class LlavaNextVideoAdapter(LlavaNextAdapter):
    """LLaVA-NeXT-Video: as LLaVA-NeXT for images; frames of videos are pooled."""

    architectures = ("LlavaNextVideoForConditionalGeneration",)
    family = "LLaVA-NeXT-Video"
    summary = "LLaVA-NeXT-Video: images as in LLaVA-NeXT, a pooled square for each frame of a video"
    image_only_processor = ImageOnlyLlavaNextVideoProcessor
    takes_videos = True
    stacks_videos = True


@ADAPTERS.register("LlavaOnevisionForConditionalGeneration")
class LlavaOnevisionAdapter(LlavaNextAdapter):
    """LLaVA-OneVision: more tiles, merged where they are too many; several images are not cut."""

    architectures = ("LlavaOnevisionForConditionalGeneration",)
    family = "LLaVA-OneVision"
    summary = "LLaVA-OneVision: the whole image and up to nine tiles of it; several images whole"
    paper = "LLaVA-OneVision: Easy Visual Task Transfer"
    url = "https://arxiv.org/abs/2408.03326"
    image_only_processor = ImageOnlyLlavaOnevisionProcessor
    takes_videos = True
    stacks_videos = True
    video_ends = 1

    def arrange(self, images: Sequence[Sequence[Image.Image]]) -> Any:
        """Sample by sample: a lone image is cut into tiles, several are not."""
        return [list(pictures) for pictures in images] if any(images) else None

    def input_rows(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> dict[str, list[int]]:
        """`batch_num_images` has an entry for each sample with images; see the base class."""
        counts = super().input_rows(inputs, spans)
        images, _ = self._of_kind(inputs, spans, "image")
        return counts | {"batch_num_images": [min(1, count) for count in images]}

    @property
    def frame_side(self) -> int:
        """Odd sides are rounded up; see the base class."""
        vision = self.model.config.vision_config
        return -(-int(vision.image_size // vision.patch_size) // 2)

    def _unpadded(self, side: int, size: tuple[int, int]) -> tuple[int, int]:
        """Grids that are too large are scaled down."""
        rows, columns = super()._unpadded(side, size)
        most = int(str(self.model.config.vision_aspect_ratio).removeprefix("anyres_max_"))
        ratio = math.sqrt(rows * columns / (most * side**2))
        return (int(rows // ratio), int(columns // ratio)) if ratio > 1.1 else (rows, columns)
