"""Idefics3 and SmolVLM: images and tiles of them, in rows that are padded by images of zeros."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.boxes import tile_boxes
from lvlmsal.adapters.frame_words import FramesByWords
from lvlmsal.adapters.image_rows import padded_rows, shown
from lvlmsal.adapters.processors import ImageOnlySmolVLMProcessor
from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.videos import Clip
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Idefics3ForConditionalGeneration")
class Idefics3Adapter(ModelAdapter):
    """Idefics3: tiles of an image and the image as a whole, each scaled to one square."""

    architectures = ("Idefics3ForConditionalGeneration",)
    family = "Idefics3"
    summary = "Idefics3: tiles of one square size and the whole image, patches merged in blocks"
    paper = "Building and better understanding vision-language models (Idefics3)"
    url = "https://arxiv.org/abs/2408.12637"
    pads_images = True

    @property
    def tokens_per_image(self) -> int:
        """Patches of the tower's input, merged in blocks of `scale_factor` a side."""
        rows, columns = self._grid()
        return rows * columns

    def within_image(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """Tiles share the mark between them; between images it closes one and opens the other."""
        return sum(gap.count(mark) for mark in closing) == 1

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """From the token that opens an image, and closes it, to that behind it; see the base class.

        What stands between that token and the image (`<global-img>`) is several tokens in some
        vocabularies.
        """
        start, end = image
        for before in range(start - 1, -1, -1):
            if ids[before] in self.image_token_ids:
                break
            if end < len(ids) and ids[before] == ids[end]:
                return before, end + 1
        return image

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Check that the processor wrote as many placeholders as the model makes visual tokens.

        `pixel_attention_mask` is left out: what was scaled to the square is seen in full.

        Raises:
            UnsupportedError: It did not; or images are of another size, or not seen in full.
        """
        found = {name: value for name, value in inputs.items() if name != "pixel_attention_mask"}
        if "pixel_values" not in inputs:
            return found
        pixels, seen = inputs["pixel_values"], inputs.get("pixel_attention_mask")
        real = shown(pixels) if seen is None else shown(seen)
        counts = real.sum(-1).tolist()
        written = (inputs["input_ids"] == self.model.config.image_token_id).sum(-1).tolist()
        side = self.model.config.vision_config.image_size
        size, wanted = tuple(pixels.shape[-2:]), [self.tokens_per_image * n for n in counts]
        if size != (side, side) or written != wanted or not (seen is None or seen[real].all()):
            raise UnsupportedError(
                f"the processor wrote {written} placeholders for {counts} image(s) or tiles of "
                f"{size[0]} x {size[1]} pixels, and the model makes {self.tokens_per_image} visual "
                f"tokens of {side} x {side} pixels. Set in the processor: image_seq_len="
                f"{self.tokens_per_image}, and in its image_processor: "
                f"max_image_size={{'longest_edge': {side}}}"
            )
        return {**found, "pixel_values": padded_rows(list(pixels[real]), counts)}

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int]]:
        """The grid of the tower, merged; those of tiles are stacked, the whole image last."""
        rows, columns = self._grid()
        return [(tiles * rows, columns) for tiles in self.panels(inputs, spans)]

    def panels(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> list[int]:
        """The tiles of each image, and the image as a whole; see the base class."""
        counts = [len(s.positions(image)) for s in spans for image in range(len(s.images))]
        return [max(1, count // self.tokens_per_image) for count in counts]

    def patch_boxes(
        self, inputs: Mapping[str, Tensor], row: int, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor | None]:
        """Tiles row by row, then the whole image; see the base class."""
        sample = self.spans(inputs["input_ids"], inputs.get("attention_mask"))[row]
        ids = inputs["input_ids"][row, sample.pad :].tolist()
        boxes: list[Tensor | None] = []
        for image, (_, end) in enumerate(sample.images):
            runs = [run for run in sample.runs if run.owner == image]
            # a line ends behind the last tile of a row; behind the others stands the mark
            ends = [
                at
                for at, run in enumerate(runs, 1)
                if ids[run.end : end + 1][:1] != ids[end : end + 1]
            ]
            tiles = len(runs) - 1
            columns = ends[0] if ends else tiles
            boxes.append(
                tile_boxes(self._grid(), tiles // columns, columns, overview="last")
                if tiles
                else None
            )
        return boxes

    def _grid(self) -> tuple[int, int]:
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size // self.model.config.scale_factor
        return (side, side)


@ADAPTERS.register("SmolVLMForConditionalGeneration")
class SmolVLMAdapter(FramesByWords, Idefics3Adapter):
    """SmolVLM and SmolVLM2: Idefics3 at a smaller size; videos are images among text.

    The words before each count the frames of the longest video of the batch, so that all have as
    many.
    """

    architectures = ("SmolVLMForConditionalGeneration",)
    family = "SmolVLM"
    summary = "SmolVLM and SmolVLM2: as Idefics3, smaller"
    paper = "SmolVLM: Redefining small and efficient multimodal models"
    url = "https://arxiv.org/abs/2504.05299"
    image_only_processor = ImageOnlySmolVLMProcessor
    tells_time = True
    videos_alone = True

    @property
    def tokens_per_frame(self) -> int:
        """Those of an image that is not cut."""
        return self.tokens_per_image

    def before_first(self) -> str:
        """See the base class."""
        return (
            r"You are provided the following series of [^\n]+ frames from a [^\n]+ \[H:MM:SS\] "
            rf"video\.\s+{self._of_frame()}"
        )

    def before_frame(self, number: int) -> str:
        """See the base class."""
        return rf"{re.escape(self.require_processor().fake_image_token)}\s*{self._of_frame()}"

    def check_videos(self) -> None:
        """See the base class.

        Raises:
            UnsupportedError: The processor was built without its part for videos.
        """
        if getattr(self.require_processor(), "video_processor", None) is None:
            raise UnsupportedError(
                "the processor of SmolVLM has no part for videos, which transformers builds only "
                "with torchvision and num2words: `pip install torchvision num2words`, the former "
                "in the version that belongs to your torch, and load the model again"
            )

    def process_videos(
        self,
        texts: Sequence[str],
        images: Sequence[Sequence[Image.Image]],
        videos: Sequence[Sequence[Clip]],
    ) -> Mapping[str, Any]:
        """Frames in a row for each sample, where the processor has one for each video."""
        made = dict(super().process_videos(texts, images, videos))
        clips = [clip for of_sample in videos for clip in of_sample]
        if clips:
            counts = [sum(len(clip.frames) for clip in of_sample) for of_sample in videos]
            made["pixel_values"] = padded_rows(list(made["pixel_values"].flatten(0, 1)), counts)
            del made["pixel_attention_mask"]  # all of a frame is seen
        return made

    def patch_boxes(
        self, inputs: Mapping[str, Tensor], row: int, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor | None]:
        """Frames are not cut; see the base class."""
        sample = self.spans(inputs["input_ids"], inputs.get("attention_mask"))[row]
        if self.videos_among(inputs["input_ids"][row], sample):  # which there are alone
            return [None for _ in sample.images]
        return super().patch_boxes(inputs, row, sizes)

    def _of_frame(self) -> str:
        """What stands right before a frame."""
        processor = self.require_processor()
        marks = map(re.escape, (processor.fake_image_token, processor.global_image_token))
        return rf"Frame from \d+:\d\d:\s*{''.join(marks)}"
