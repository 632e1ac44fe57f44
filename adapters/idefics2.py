"""Idefics2: images of any shape in padded rows, each read by as many queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.image_rows import shown
from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Idefics2ForConditionalGeneration")
class Idefics2Adapter(ModelAdapter):
    """Idefics2, with images that are not split: a perceiver reads each of them."""

    architectures = ("Idefics2ForConditionalGeneration",)
    family = "Idefics2"
    summary = "Idefics2: queries that read an image, which are nowhere on it; no split images"
    paper = "What matters when building vision-language models? (Idefics2)"
    url = "https://arxiv.org/abs/2405.02246"
    pads_images = True
    image_inputs = ("pixel_attention_mask",)

    @property
    def tokens_per_image(self) -> int:
        """Queries of the perceiver."""
        return int(self.model.config.perceiver_config.resampler_n_latents)

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """With the mark on both sides; images that touch share the one between them."""
        start, end = image
        return max(0, start - 1), min(len(ids), end + 1)

    def arrange(self, images: Sequence[Sequence[Image.Image]]) -> Any:
        """Sample by sample.

        Raises:
            UnsupportedError: Images are split, and crops look as images of their own do.
        """
        if getattr(self.require_processor().image_processor, "do_image_splitting", False):
            raise UnsupportedError(
                "images are split into crops, which cannot be told from images of their own: turn "
                "that off with processor.image_processor.do_image_splitting = False"
            )
        return [list(pictures) for pictures in images] if any(images) else None

    def pixel_units(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Each image without the zeros that bring it to the size of the largest."""
        if "pixel_values" not in inputs:
            return []
        pixels, seen = inputs["pixel_values"], inputs.get("pixel_attention_mask")
        found = []
        for row, at in shown(pixels).nonzero().tolist():
            height, width = pixels.shape[-2:]
            if seen is not None:
                real = seen[row, at].bool()
                height, width = int(real.any(1).sum()), int(real.any(0).sum())
            found.append(pixels[row, at, :, :height, :width])
        return found

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int] | None]:
        """None: each query reads all of the image."""
        return [None for sample in spans for _ in sample.images]
