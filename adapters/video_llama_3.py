"""VideoLLaMA3: as many visual tokens as the size of the image asks for, positions as of text."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor

from lvlmsal.adapters.boxes import grid_boxes
from lvlmsal.adapters.processors import ImageOnlyVideoLlama3Processor
from lvlmsal.adapters.qwen_vl import Qwen2VLAdapter
from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("VideoLlama3ForConditionalGeneration")
class VideoLlama3Adapter(Qwen2VLAdapter):
    """VideoLLaMA3: each image and video says in its inputs how its patches are merged.

    The frames of a video are runs, with their times in words before them. Visual tokens of a frame
    whose pixels are those of the frame before are left out.
    """

    architectures = ("VideoLlama3ForConditionalGeneration",)
    family = "VideoLLaMA3"
    summary = "VideoLLaMA3: dynamic resolution, plain rotary positions"
    paper = "VideoLLaMA 3: Frontier Multimodal Foundation Models for Image and Video Understanding"
    url = "https://arxiv.org/abs/2501.13106"
    image_only_processor = ImageOnlyVideoLlama3Processor
    wraps_images = False
    tells_time = True
    image_inputs = ("image_merge_sizes",)
    video_inputs = ("video_merge_sizes",)

    def goes_on(self, inputs: Mapping[str, Tensor]) -> bool:
        """Positions are those of text."""
        return True

    def lost_in_beams(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> str:
        """Videos with visual tokens that were left out; see the base class."""
        if all(bool(mask.all()) for mask in self._kept(inputs)):
            return super().lost_in_beams(inputs, spans)
        return "videos of VideoLLaMA3 of which visual tokens were left out"

    def within_video(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """A comma and its time stand before every frame but the first; see the base class."""
        return re.fullmatch(r",Time \d+\.\ds:", self.tokenizer.decode(list(gap))) is not None

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """A video with the time of its first frame; see the base class."""
        start, end = image
        if ids[start] == self.model.config.video_token_id:
            for before in reversed(range(start)):
                text = self.tokenizer.decode(list(ids[before:start]))
                if re.fullmatch(r"Time \d+\.\ds:", text):
                    return before, end
        return image

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int] | None]:
        """Patches of each image, merged in blocks of a side of its own.

        Frames of a video are stacked; None for one of which visual tokens were left out.
        """
        counts = [len(s.positions(image)) for s in spans for image in range(len(s.images))]
        grids = [(t * rows, columns) for t, rows, columns in self._merged(inputs, spans)]
        return [
            grid if grid[0] * grid[1] == count else None
            for grid, count in zip(grids, counts, strict=True)
        ]

    def patch_boxes(
        self, inputs: Mapping[str, Tensor], row: int, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor | None]:
        """Those of the visual tokens of a video that were not left out; see the base class."""
        spans = self.spans(inputs["input_ids"], inputs.get("attention_mask"))
        grids, merged = self.image_grids(inputs, spans), self._merged(inputs, spans)
        videos = [
            image in self.videos_among(ids, sample)
            for ids, sample in zip(inputs["input_ids"], spans, strict=True)
            for image in range(len(sample.images))
        ]
        kept = iter(self._kept(inputs))
        boxes: list[Tensor | None] = []
        for (frames, rows, columns), grid, video in zip(merged, grids, videos, strict=True):
            mask = next(kept) if video else None
            whole = grid is not None or mask is None
            boxes.append(None if whole else grid_boxes(rows, columns).repeat(frames, 1)[mask])
        first = sum(len(sample.images) for sample in spans[:row])
        return boxes[first : first + len(spans[row].images)]

    def input_rows(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> dict[str, list[int]]:
        """The mask of visual tokens has an entry for each of them; see the base class."""
        found = super().input_rows(inputs, spans)
        if "video_compression_mask" in inputs:
            sizes = iter([len(mask) for mask in self._kept(inputs)])
            found["video_compression_mask"] = [
                sum(islice(sizes, videos)) for videos in found["video_grid_thw"]
            ]
        return found

    def _merged(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int, int]]:
        """Frames, rows and columns of every image and video, in visual tokens."""
        sides = self._entries(inputs, spans, "image_merge_sizes", "video_merge_sizes")
        sizes = self._sizes(inputs, spans)
        return [(t, h // side, w // side) for (t, h, w), side in zip(sizes, sides, strict=True)]

    def _kept(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Which visual tokens of each video of the batch were not left out."""
        if "video_compression_mask" not in inputs:
            return []
        counts = inputs["video_grid_thw"].prod(-1) // inputs["video_merge_sizes"] ** 2
        return list(torch.split(inputs["video_compression_mask"], counts.tolist()))
