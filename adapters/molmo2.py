"""Molmo2: the image as a whole, then overlapping crops of it as one picture, each a grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.messages import Prompt
from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Molmo2ForConditionalGeneration")
class Molmo2Adapter(ModelAdapter):
    """Molmo2 with images: two grids for each, a mark behind each row; visual tokens are pooled.

    Which patches a visual token pools is an input of its own, by number among all of the batch.
    """

    architectures = ("Molmo2ForConditionalGeneration",)
    family = "Molmo2"
    summary = "Molmo2 with images: the whole image, then its crops, each as a grid of its own"
    paper = (
        "Molmo2: Open Weights and Data for Vision-Language Models with Video Understanding and "
        "Grounding"
    )
    url = "https://arxiv.org/abs/2601.10611"

    def feed_forward(self, layer: int) -> tuple[nn.Module, nn.Module]:
        """As the base class; with `norm_after` the second norm stands behind the block."""
        block, last = super().feed_forward(layer)
        behind = self.text_config.norm_after
        return block, self.layers[layer].get_submodule(
            "post_attention_layernorm"
        ) if behind else last

    @property
    def image_token_ids(self) -> tuple[int, ...]:
        """Images and videos have the same."""
        return (int(self.model.config.image_patch_id),)

    def render(self, prompt: Prompt, count: int, *, system: str | None = None) -> str:
        """With what the processor puts in front of every prompt; see the base class."""
        text = super().render(prompt, count, system=system)
        first = self.tokenizer.bos_token or self.tokenizer.eos_token
        return text if text.startswith(first) else f"{first}{text}"

    def within_image(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """Every image begins with a mark of its own."""
        return self.model.config.low_res_image_start_token_id not in gap

    def videos_among(self, ids: Tensor, spans: TokenSpans) -> set[int]:
        """None: the ids of its visual tokens are those of videos, too."""
        return set()

    def within_video(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """The ids of visual tokens are those of videos, too: see :meth:`within_image`."""
        return self.within_image(gap, closing)

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """With the marks that begin and end it, the latter maybe behind that of a row."""
        start, end = image
        behind = 2 if list(ids[end : end + 1]) == [self.model.config.image_col_id] else 1
        return max(0, start - 1), min(len(ids), end + behind)

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mark the tokens of images (1), which see one another.

        Raises:
            UnsupportedError: The processor writes the same mark before an image and its crops.
        """
        if not getattr(self.processor, "use_single_crop_start_token", True):
            raise UnsupportedError(
                "the processor begins an image as it begins its crops, so images cannot be told "
                "apart: set processor.use_single_crop_start_token = True"
            )
        config, ids = self.model.config, inputs["input_ids"]
        names = ("image_start", "image_end", "low_res_image_start")
        marks = [getattr(config, f"{name}_token_id") for name in names]
        marks += [config.image_patch_id, config.image_col_id]
        kinds = torch.isin(ids, torch.tensor(marks, device=ids.device)).long()
        return {**inputs, "mm_token_type_ids": inputs.get("mm_token_type_ids", kinds)}

    def input_rows(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> dict[str, list[int]]:
        """Crops, visual tokens and images of each sample; see the base class."""
        if "pixel_values" not in inputs:
            return {}
        images = [len(sample.images) for sample in spans]
        tokens = [sum(run.end - run.start for run in sample.runs) for sample in spans]
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
        if "image_token_pooling" not in found:
            return found
        counts = self.input_rows(inputs, spans)
        patches = inputs["pixel_values"].shape[1]
        before = [patches * n for n in (0, *accumulate(counts["pixel_values"]))]
        parts, at = [], 0
        tokens = [counts["image_token_pooling"][row] for row in rows]
        pieces = torch.split(found["image_token_pooling"], tokens)
        for row, piece in zip(rows, pieces, strict=True):
            parts.append(torch.where(piece >= 0, piece - before[row] + at, piece))
            at += before[row + 1] - before[row]
        return {**found, "image_token_pooling": torch.cat(parts)}

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int] | None]:
        """An image has two grids of different sizes; :meth:`patch_boxes` says where they lie."""
        return [None for sample in spans for _ in sample.images]

    def patch_boxes(
        self, inputs: Mapping[str, Tensor], row: int, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor | None]:
        """Both grids lie over the whole picture; see the base class."""
        spans = self.spans(inputs["input_ids"], inputs.get("attention_mask"))
        first = sum(len(sample.images) for sample in spans[:row])
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
