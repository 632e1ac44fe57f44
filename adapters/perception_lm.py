"""PerceptionLM: the image as a whole, then its tiles row by row, patches averaged in blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters.processors import ImageOnlyPerceptionLMProcessor
from lvlmsal.adapters.prompts import begins
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.tiles import TiledAdapter, divisors
from lvlmsal.adapters.videos import Clip
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("PerceptionLMForConditionalGeneration")
class PerceptionLMAdapter(TiledAdapter):
    """PerceptionLM: as many tiles as an image needs, with no marks between them."""

    architectures = ("PerceptionLMForConditionalGeneration",)
    family = "PerceptionLM"
    summary = "PerceptionLM: the whole image, then tiles of it, patches averaged in blocks"
    paper = "PerceptionLM: Open-Access Data and Models for Detailed Visual Understanding"
    url = "https://arxiv.org/abs/2504.13180"
    image_only_processor = ImageOnlyPerceptionLMProcessor
    overview = "first"
    takes_videos = True
    stacks_videos = True

    @property
    def tile_grid(self) -> tuple[int, int]:
        """Patches of a tile, by the processor; blocks of them are averaged."""
        processor = self.require_processor()
        side = processor.image_processor.tile_size // processor.patch_size
        side //= self.model.config.projector_pooling_ratio
        return side, side

    def check_marks(self, text: str, count: int, *, sample: int, videos: int = 0) -> None:
        """See the base class.

        Raises:
            UnsupportedError: Two images touch, and nothing in their tokens says where one ends.
        """
        super().check_marks(text, count, sample=sample, videos=videos)
        if 2 * self.image_mark in text:
            raise UnsupportedError(
                f"in the prompt of sample {sample} one image stands right behind another, and "
                f"{self.family} has no marks between them: put text between {self.image_mark} and "
                f"{self.image_mark}"
            )

    def process_videos(
        self,
        texts: Sequence[str],
        images: Sequence[Sequence[Image.Image]],
        videos: Sequence[Sequence[Clip]],
    ) -> Mapping[str, Any]:
        """An entry for each tile, since images have different numbers of them; see the base."""
        processor = self.require_processor()
        found = processor(
            text=list(texts),
            images=self.arrange(images),
            **self.video_arguments([clip for of_sample in videos for clip in of_sample]),
            padding=len(texts) > 1,
            padding_side="left",
            add_special_tokens=not begins(processor.tokenizer, texts[0]),
        )
        made = {name: torch.tensor(found[name]) for name in ("input_ids", "attention_mask")}
        if any(images):
            made["pixel_values"] = torch.cat(list(found["pixel_values"]))[:, None]
        if any(videos):
            made["pixel_values_videos"] = torch.stack(list(found["pixel_values_videos"]))
        return made

    def lost_in_beams(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> str:
        """Several videos of a prompt, which are not encoded before beams begin; see the base."""
        pairs = zip(inputs["input_ids"], spans, strict=True)
        if max(len(self.videos_among(*pair)) for pair in pairs) < 2:
            return super().lost_in_beams(inputs, spans)
        return "several videos of a prompt of PerceptionLM"

    def tile_layout(self, count: int, size: tuple[int, int]) -> tuple[int, int]:
        """Of so many tiles those whose shape is by the smallest factor another; see the base.

        Of two that are so by the same factor the processor has the one that is nearer to a square.
        """
        wanted = math.log(size[0] / size[1])

        def distance(layout: tuple[int, int]) -> tuple[float, float]:
            shape = math.log(layout[1] / layout[0])
            return round(abs(shape - wanted), 6), abs(shape)

        layouts = [(count // columns, columns) for columns in divisors(count)]
        return min(layouts, key=distance)
