"""InternVL in the format of transformers: an image is cut into tiles, each with as many tokens."""

from __future__ import annotations

from lvlmsal.adapters.processors import ImageOnlyInternVLProcessor
from lvlmsal.adapters.tiles import TiledAdapter
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("InternVLForConditionalGeneration")
class InternVLAdapter(TiledAdapter):
    """InternVL 2.5, 3 and 3.5: tiles and a thumbnail in one run of visual tokens."""

    architectures = ("InternVLForConditionalGeneration",)
    family = "InternVL"
    summary = "InternVL 2.5, 3 and 3.5 in transformers' format: several tiles for an image"
    paper = "Expanding Performance Boundaries of Open-Source Multimodal Models (InternVL 2.5)"
    url = "https://arxiv.org/abs/2412.05271"
    image_only_processor = ImageOnlyInternVLProcessor
    wraps_images = True

    @property
    def tile_grid(self) -> tuple[int, int]:
        """(rows, columns) of the visual tokens of one tile."""
        config = self.model.config
        height, width = config.vision_config.image_size
        patch_height, patch_width = config.vision_config.patch_size
        ratio = config.downsample_ratio
        return int(height // patch_height * ratio), int(width // patch_width * ratio)
