"""Families that cut an image into tiles of one size, each with as many visual tokens."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.boxes import tile_boxes
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import UnsupportedError


class TiledAdapter(ModelAdapter):
    """Tiles row by row and the image as a whole; or that alone, where it is small.

    `pixel_values` has an entry for each tile of the batch.
    """

    overview: ClassVar[str] = "last"
    """Where the image as a whole stands: ``"first"`` or ``"last"``."""

    @property
    @abstractmethod
    def tile_grid(self) -> tuple[int, int]:
        """(rows, columns) of the visual tokens of one tile."""

    @property
    def tokens_per_tile(self) -> int:
        """Visual tokens of one tile."""
        rows, columns = self.tile_grid
        return rows * columns

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int] | None]:
        """Tiles are stacked in the order of the tokens, the whole image among them."""
        rows, columns = self.tile_grid
        return [(count * rows, columns) for count in self.panels(inputs, spans)]

    def panels(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> list[int]:
        """Count the tiles of each image, that of the whole image included; or frames of a video.

        Args:
            inputs: As from `encode`.
            spans: Of these inputs.

        Returns:
            One number for each image.

        Raises:
            UnsupportedError: The tiles of all images are not those in `pixel_values`.
        """
        lengths = [len(sample.positions(i)) for sample in spans for i in range(len(sample.images))]
        counts = [length // self.tokens_per_tile for length in lengths]
        given = inputs["pixel_values"].shape[0] if "pixel_values" in inputs else 0
        if "pixel_values_videos" in inputs:
            given += inputs["pixel_values_videos"].shape[:2].numel()
        if sum(counts) != given:
            raise UnsupportedError(
                f"the images of the prompts have {lengths} visual tokens, {self.tokens_per_tile} "
                f"for a tile, but pixels of {given} tiles were given"
            )
        return counts

    def tile_layout(self, count: int, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tiles that an image was cut into: by default nearest to its shape.

        Args:
            count: Tiles, without that of the whole image.
            size: Width and height of the picture.
        """
        layouts = [(count // columns, columns) for columns in divisors(count)]
        return min(layouts, key=lambda layout: abs(size[0] / size[1] - layout[1] / layout[0]))

    def patch_boxes(
        self, inputs: Mapping[str, Tensor], row: int, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor | None]:
        """Tiles where they were cut out, and the whole image; see the base class."""
        sample = self.spans(inputs["input_ids"], inputs.get("attention_mask"))[row]
        boxes: list[Tensor | None] = []
        videos = self.videos_among(inputs["input_ids"][row], sample)
        for image, size in enumerate(sizes[: len(sample.images)]):
            tiles = len(sample.positions(image)) // self.tokens_per_tile - 1
            cut = tiles > 0 and image not in videos
            layout = self.tile_layout(tiles, size) if cut else None
            boxes.append(layout and tile_boxes(self.tile_grid, *layout, overview=self.overview))
        return boxes


def divisors(count: int) -> list[int]:
    """In growing order.

    >>> divisors(6)
    [1, 2, 3, 6]
    """
    return [number for number in range(1, count + 1) if count % number == 0]
