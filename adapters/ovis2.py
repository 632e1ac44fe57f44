"""Ovis2: the image as a whole, then its tiles row by row, with marks between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from lvlmsal.adapters.boxes import tile_boxes
from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.tiles import TiledAdapter
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Ovis2ForConditionalGeneration")
class Ovis2Adapter(TiledAdapter):
    """Ovis2: visual tokens are drawn from a table of their own; marks say how tiles lie."""

    architectures = ("Ovis2ForConditionalGeneration",)
    family = "Ovis2"
    summary = "Ovis2: the whole image, then tiles of it, visual tokens from a table of their own"
    paper = "Ovis: Structural Embedding Alignment for Multimodal Large Language Model"
    url = "https://arxiv.org/abs/2405.20797"
    embeds_marks = True  # with pixels they come from the table of visual tokens, too

    @property
    def tile_grid(self) -> tuple[int, int]:
        """Patches of the tower's input, merged in blocks."""
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size // vision.hidden_stride
        return side, side

    def within_image(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """One mark, behind the whole image, a tile or a row of tiles; images have two between."""
        return len(gap) == 1

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """With what opens and what closes it, and a mark behind an image that has no tiles."""
        start, end = image
        closing = self.model.config.visual_indicator_token_ids[-1]
        behind = list(ids[end : end + 2])
        return max(0, start - 1), end + (behind.index(closing) + 1 if closing in behind else 0)

    def patch_boxes(
        self, inputs: Mapping[str, Tensor], row: int, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor | None]:
        """The whole image, then tiles where they were cut out; see the base class."""
        sample = self.spans(inputs["input_ids"], inputs.get("attention_mask"))[row]
        ids = inputs["input_ids"][row, sample.pad :].tolist()
        by_row = self.model.config.visual_indicator_token_ids[3]
        boxes: list[Tensor | None] = []
        for image, (start, end) in enumerate(sample.images):
            tiles = len(sample.positions(image)) // self.tokens_per_tile - 1
            rows = ids[start:end].count(by_row) + 1
            layout = (rows, tiles // rows) if tiles else None
            boxes.append(layout and tile_boxes(self.tile_grid, *layout, overview="first"))
        return boxes
