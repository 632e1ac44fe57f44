"""InternVL in the format of transformers: an image is cut into tiles, each with as many tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice

from torch import Tensor

from lvlmsal.adapters.frame_words import FramesByWords
from lvlmsal.adapters.processors import ImageOnlyInternVLProcessor
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.tiles import TiledAdapter
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("InternVLForConditionalGeneration")
class InternVLAdapter(FramesByWords, TiledAdapter):
    """InternVL 2.5, 3 and 3.5: tiles and a thumbnail in one run of visual tokens.

    A video is written as images of one tile, each behind the words of its frame, `Frame1: ` and so
    on; by these words it is known, and images of one tile with the same words are a video, too.
    """

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

    @property
    def tokens_per_frame(self) -> int:
        """Those of a tile."""
        return self.tokens_per_tile

    def before_first(self) -> str:
        """See the base class."""
        return rf"Frame1:\s*{re.escape(self.require_processor().start_image_token)}"

    def before_frame(self, number: int) -> str:
        """See the base class."""
        processor = self.require_processor()
        begin, end = map(re.escape, (processor.start_image_token, processor.end_image_token))
        return rf"{end}\s*Frame{number}:\s*{begin}"  # some vocabularies have blanks there

    def input_rows(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> dict[str, list[int]]:
        """Tiles and frames of each sample, which are one input; see the base class."""
        if "pixel_values" not in inputs:
            return {}
        panels = iter(self.panels(inputs, spans))
        return {"pixel_values": [sum(islice(panels, len(sample.images))) for sample in spans]}
