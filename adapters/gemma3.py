"""Gemma 3: images that see all of themselves, given sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

from PIL import Image
from torch import Tensor

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Gemma3ForConditionalGeneration")
class Gemma3Adapter(ModelAdapter):
    """Gemma 3: patches of a square image, averaged to a fixed number of visual tokens."""

    architectures = ("Gemma3ForConditionalGeneration",)
    family = "Gemma 3"
    summary = "Gemma 3: one square image size, a fixed number of visual tokens; no pan and scan"
    paper = "Gemma 3 Technical Report"
    url = "https://arxiv.org/abs/2503.19786"
    wraps_images = True

    @property
    def tokens_per_image(self) -> int:
        """The same for every image."""
        return int(self.model.config.mm_tokens_per_image)

    def arrange(self, images: Sequence[Sequence[Image.Image]]) -> Any:
        """Sample by sample.

        Raises:
            UnsupportedError: Pan and scan is on, which writes words between crops of an image.
        """
        if getattr(self.require_processor().image_processor, "do_pan_and_scan", False):
            raise UnsupportedError(
                "pan and scan writes an image as several ones with words between them, and no "
                "spans of such images are known: turn it off with "
                "processor.image_processor.do_pan_and_scan = False"
            )
        return [list(pictures) for pictures in images] if any(images) else None

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mark visual tokens (1), by which those of an image see one another."""
        kinds = (inputs["input_ids"] == self.model.config.image_token_id).long()
        return {**inputs, "token_type_ids": inputs.get("token_type_ids", kinds)}

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int] | None]:
        """Every image has the same square grid; see the base class."""
        side = isqrt(self.tokens_per_image)
        return [(side, side) for sample in spans for _ in sample.images]
