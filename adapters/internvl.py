"""InternVL in the format of transformers: an image is cut into tiles, each with as many tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.processors import ImageOnlyInternVLProcessor
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("InternVLForConditionalGeneration")
class InternVLAdapter(ModelAdapter):
    """InternVL 2.5 and 3: tiles and a thumbnail in one run of visual tokens."""

    architectures = ("InternVLForConditionalGeneration",)
    family = "InternVL"
    summary = "InternVL 2.5 and 3 in the format of transformers: several tiles for an image"
    paper = "Expanding Performance Boundaries of Open-Source Multimodal Models (InternVL 2.5)"
    url = "https://arxiv.org/abs/2412.05271"
    image_only_processor = ImageOnlyInternVLProcessor
    wraps_images = True

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int]]:
        """Tiles are stacked in the order of the tokens; the last of several is the thumbnail."""
        rows, columns = self.tile_grid
        tiles = self.tiles(inputs, spans)
        return [(count * rows, columns) for count in tiles]

    def panels(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> list[int]:
        """The tiles of each image; see the base class."""
        return self.tiles(inputs, spans)

    @property
    def tokens_per_tile(self) -> int:
        """Visual tokens of one tile."""
        rows, columns = self.tile_grid
        return rows * columns

    @property
    def tile_grid(self) -> tuple[int, int]:
        """(rows, columns) of the visual tokens of one tile."""
        config = self.model.config
        height, width = config.vision_config.image_size
        patch_height, patch_width = config.vision_config.patch_size
        ratio = config.downsample_ratio
        return int(height // patch_height * ratio), int(width // patch_width * ratio)

    def tiles(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> list[int]:
        """Count the tiles of each image, the thumbnail included.

        Args:
            inputs: As from `encode`.
            spans: Of these inputs.

        Returns:
            One number for each image.

        Raises:
            UnsupportedError: The tiles of all images are not those in `pixel_values`.
        """
        rows, columns = self.tile_grid
        lengths = [end - start for sample in spans for start, end in sample.images]
        counts = [length // (rows * columns) for length in lengths]
        given = inputs["pixel_values"].shape[0] if "pixel_values" in inputs else 0
        if sum(counts) != given:
            raise UnsupportedError(
                f"the images of the prompts have {lengths} visual tokens, {rows * columns} for a "
                f"tile, but `pixel_values` holds {given} tiles"
            )
        return counts
