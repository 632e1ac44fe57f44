"""Aya Vision and Cohere2 Vision: tiles of an image with marks between them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.tiles import TiledAdapter, divisors
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("AyaVisionForConditionalGeneration")
class AyaVisionAdapter(TiledAdapter):
    """Aya Vision: each tile has its number in front of it, the whole image stands last."""

    architectures = ("AyaVisionForConditionalGeneration",)
    family = "Aya Vision"
    summary = "Aya Vision: tiles of an image, each behind its number, and the whole image"
    paper = "Aya Vision: Advancing the Frontier of Multilingual Multimodality"
    url = "https://arxiv.org/abs/2505.08751"

    @property
    def tile_grid(self) -> tuple[int, int]:
        """Patches of the tower's input, merged in blocks."""
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size // self.model.config.downsample_factor
        return side, side

    def within_image(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """Numbers of tiles stand between them, and nothing that closes the image."""
        return not any(token in closing for token in gap)

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """With the marks around the image, and that of its first tile; see the base class."""
        start, end = image
        return max(0, start - 2), min(len(ids), end + 1)


@ADAPTERS.register("Cohere2VisionForConditionalGeneration")
class Cohere2VisionAdapter(AyaVisionAdapter):
    """Cohere2 Vision (Command A Vision): a line break behind each tile."""

    architectures = ("Cohere2VisionForConditionalGeneration",)
    family = "Cohere2 Vision"
    summary = "Command A Vision: tiles of an image, each with a line break, and the whole image"
    paper = "Command A: An Enterprise-Ready Large Language Model"
    url = "https://arxiv.org/abs/2504.00698"

    def within_image(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """A line break, and nothing else: between images stand their marks as well."""
        return len(gap) == 1

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """With the marks around the image, and its last line break; see the base class."""
        start, end = image
        return max(0, start - 1), min(len(ids), end + 2)

    def tile_layout(self, count: int, size: tuple[int, int]) -> tuple[int, int]:
        """The layout that enlarges the image least or, where all shrink it, shrinks it least."""
        side = self.model.config.vision_config.image_size
        scales = {
            (count // columns, columns): min(
                columns * side / size[0], count // columns * side / size[1]
            )
            for columns in divisors(count)
        }
        larger = {layout: scale for layout, scale in scales.items() if scale >= 1}
        if larger:
            return min(larger, key=lambda layout: larger[layout])
        return max(scales, key=lambda layout: scales[layout])
