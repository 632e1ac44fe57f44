"""Molmo2: the image as a whole, then overlapping crops of it as one picture, each a grid."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, islice, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.messages import Prompt
from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.video_encoding import AS_IMAGES
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Molmo2ForConditionalGeneration")
class Molmo2Adapter(ModelAdapter):
    """Molmo2: two grids for each image, a mark behind each row; visual tokens are pooled.

    Which patches a visual token pools is an input of its own, by number among all of the batch.
    Frames of a video are one grid each, between marks of their own, behind their times.
    """

    architectures = ("Molmo2ForConditionalGeneration",)
    family = "Molmo2"
    summary = "Molmo2: the whole image, then its crops, each as a grid of its own"
    paper = (
        "Molmo2: Open Weights and Data for Vision-Language Models with Video Understanding and "
        "Grounding"
    )
    url = "https://arxiv.org/abs/2601.10611"
    takes_videos = True
    tells_time = True
    videos_alone = True
    one_video = True
    video_inputs = ("video_grids",)
    video_token_id = AS_IMAGES

    def feed_forward(self, layer: int) -> tuple[nn.Module, nn.Module]:
        """As the base class; with `norm_after` the second norm stands behind the block."""
        block, last = super().feed_forward(layer)
        behind = self.text_config.norm_after
        return block, self.layers[layer].get_submodule(
            "post_attention_layernorm"
        ) if behind else last

    def by_kind(self, ids: Tensor) -> Tensor:
        """Visual tokens between the marks of a frame are of a video; see the base class."""
        config = self.model.config
        begun, ended = (
            (ids == mark).cumsum(-1)
            for mark in (config.frame_start_token_id, config.frame_end_token_id)
        )
        of_video = (ids == config.image_patch_id) & (begun > ended)
        return ids.masked_fill(of_video, AS_IMAGES)

    def check_videos(self) -> None:
        """See the base class.

        Raises:
            UnsupportedError: The processor writes frames as images.
        """
        super().check_videos()
        if not self.require_processor().use_frame_special_tokens:
            raise UnsupportedError(
                "the processor begins a frame as it begins an image, so frames cannot be told from "
                "images: set processor.use_frame_special_tokens = True"
            )

    def render(self, prompt: Prompt, count: int, *, system: str | None = None) -> str:
        """With what the processor puts in front of every prompt; see the base class."""
        text = super().render(prompt, count, system=system)
        first = self.tokenizer.bos_token or self.tokenizer.eos_token
        return text if text.startswith(first) else f"{first}{text}"

    def within_image(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """Every image begins with a mark of its own."""
        return self.model.config.low_res_image_start_token_id not in gap

    def within_video(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """The processor takes one video a sample; see the base class."""
        return True

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """With the marks that begin and end it, the latter maybe behind that of a row.

        A video with the time of its first frame.
        """
        start, end = image
        if list(ids[start - 1 : start]) == [self.model.config.frame_start_token_id]:
            texts = [self.tokenizer.decode(list(ids[at : start - 1])) for at in range(start - 1)]
            timed = (at for at, text in enumerate(texts) if re.fullmatch(r"\d+\.\d ", text))
            return next(timed, start - 1), end + 1
        behind = 2 if list(ids[end : end + 1]) == [self.model.config.image_col_id] else 1
        return max(0, start - 1), min(len(ids), end + behind)

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mark the tokens of images and frames (1), which see one another.

        Raises:
            UnsupportedError: The processor writes the same mark before an image and its crops.
        """
        if not getattr(self.processor, "use_single_crop_start_token", True):
            raise UnsupportedError(
                "the processor begins an image as it begins its crops, so images cannot be told "
                "apart: set processor.use_single_crop_start_token = True"
            )
        config, ids = self.model.config, inputs["input_ids"]
        names = ("image_start", "image_end", "low_res_image_start", "frame_start", "frame_end")
        marks = [getattr(config, f"{name}_token_id") for name in names]
        marks += [config.image_patch_id, config.image_col_id]
        kinds = torch.isin(ids, torch.tensor(marks, device=ids.device)).long()
        return {**inputs, "mm_token_type_ids": inputs.get("mm_token_type_ids", kinds)}

    def input_rows(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> dict[str, list[int]]:
        """Crops or frames, visual tokens and images of each sample; see the base class."""
        images = [len(sample.images) for sample in spans]
        tokens = [sum(run.end - run.start for run in sample.runs) for sample in spans]
        if "pixel_values_videos" in inputs:
            frames = iter(inputs["video_grids"][:, 0].tolist())
            return {
                "pixel_values_videos": [sum(islice(frames, count)) for count in images],
                "video_token_pooling": tokens,
                "video_grids": images,
            }
        if "pixel_values" not in inputs:
            return {}
        pooled, pixels = inputs["image_token_pooling"], inputs["pixel_values"]
        given = len(inputs["image_grids"]), len(pooled)
        if given != (sum(images), sum(tokens)):
            raise UnsupportedError(
                f"the prompt's rows have {images} images of {tokens} visual tokens in all, but "
                f"pixels of {given[0]} images for {given[1]} visual tokens were given"
            )
        # the last patch of a sample's last crop is pooled by one of its tokens
        ends = [0]
        for numbers in torch.split(pooled, tokens):
            ends.append(int(numbers.max()) // pixels.shape[1] + 1 if len(numbers) else ends[-1])
        found = {
            "pixel_values": [end - start for start, end in pairwise(ends)],
            "image_token_pooling": tokens,
            "image_grids": images,
            "image_num_crops": images,
        }
        return {name: counts for name, counts in found.items() if name in inputs}

    def select_rows(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans], rows: Sequence[int]
    ) -> dict[str, Tensor]:
        """Patches get new numbers, among those of the chosen samples; see the base class."""
        found = super().select_rows(inputs, spans, rows)
        of_video = "video_token_pooling" in found
        pooling = "video_token_pooling" if of_video else "image_token_pooling"
        if pooling not in found:
            return found
        pixels = self.pixel_inputs["video" if of_video else "image"]
        counts = self.input_rows(inputs, spans)
        patches = inputs[pixels].shape[1]
        before = [patches * n for n in (0, *accumulate(counts[pixels]))]
        parts, at = [], 0
        tokens = [counts[pooling][row] for row in rows]
        pieces = torch.split(found[pooling], tokens)
        for row, piece in zip(rows, pieces, strict=True):
            parts.append(torch.where(piece >= 0, piece - before[row] + at, piece))
            at += before[row + 1] - before[row]
        return {**found, pooling: torch.cat(parts)}

    def panels(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> list[int]:
        """The frames of each video; see the base class."""
        if "video_grids" in inputs:
            return [int(frames) for frames in inputs["video_grids"][:, 0]]
        return super().panels(inputs, spans)

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int] | None]:
        """An image has two grids of different sizes; :meth:`patch_boxes` says where they lie."""
        return [None for sample in spans for _ in sample.images]

    def patch_boxes(
        self, inputs: Mapping[str, Tensor], row: int, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor | None]:
        """Both grids, or that of each frame, lie over the whole picture; see the base class."""
        spans = self.spans(inputs["input_ids"], inputs.get("attention_mask"))
        first = sum(len(sample.images) for sample in spans[:row])
        if "video_grids" in inputs:
            own = inputs["video_grids"][first : first + len(spans[row].images)].tolist()
            return [_frames(self.require_processor().video_processor, *grid) for grid in own]
        grids = inputs["image_grids"].tolist() if "image_grids" in inputs else []
        pixels = self.require_processor().image_processor
        side = pixels.size["height"] // pixels.patch_size
        margin = sum(pixels.overlap_margins)
        boxes: list[Tensor | None] = []
        for low_rows, low_columns, rows, columns in grids[first : first + len(spans[row].images)]:
            pools = list(zip((low_rows, low_columns), pixels.pooling_size, strict=True))
            low = [_edges(count, pool, side) for count, pool in pools]
            high = [
                _edges(count, pool, _patches(count, pool, side - margin, margin))
                for count, pool in zip((rows, columns), pixels.pooling_size, strict=True)
            ]
            boxes.append(torch.cat([_boxes(*low), _boxes(*high)]))
        return boxes


def _frames(part: Any, frames: int, rows: int, columns: int) -> Tensor:
    """Boxes of the visual tokens of a video, each frame a grid over all of it."""
    side = part.size["height"] // part.patch_size
    pools = zip((rows, columns), part.pooling_size, strict=True)
    return _boxes(*[_edges(count, pool, side) for count, pool in pools]).repeat(frames, 1)


def _patches(count: int, pool: int, window: int, margin: int) -> int:
    """Patches along a side of all crops, of which so many visual tokens were pooled."""
    crops = (count * pool - margin) // window
    return crops * window + margin


def _edges(count: int, pool: int, patches: int) -> Tensor:
    """Where visual tokens along a side begin and end, as shares; the outer ones may be smaller."""
    left = (count * pool - patches) // 2
    edges = (torch.arange(count + 1) * pool - left) / patches
    return edges.clamp(0, 1)


def _boxes(down: Tensor, across: Tensor) -> Tensor:
    """Boxes of a grid with these edges, row by row, shape (rows * columns, 4)."""
    top, left = torch.meshgrid(down[:-1], across[:-1], indexing="ij")
    bottom, right = torch.meshgrid(down[1:], across[1:], indexing="ij")
    return torch.stack([left, top, right, bottom], -1).reshape(-1, 4)
