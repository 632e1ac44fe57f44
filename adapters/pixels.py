"""Which inputs of `generate` hold images, and which part of them belongs to which sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import ClassVar, Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters.image_rows import shown
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import UnsupportedError

KINDS: Final = ("mm_token_type_ids", "token_type_ids")
"""Those of `TEXT` that say of which kind each token is."""

TEXT: Final = ("input_ids", "attention_mask", *KINDS)
"""Inputs of `generate` that have an entry for each token."""


class PixelInputs:
    """What an adapter says about the inputs that are not text.

    The defaults know pixels of one image (or tile, or video) after the other, pixels that are
    strung together with a grid of sizes, and rows of images that are padded (`pads_images`).
    """

    model: PreTrainedModel

    pixel_inputs: ClassVar[Mapping[str, str]] = {
        "image": "pixel_values",
        "video": "pixel_values_videos",
    }
    """Inputs that hold pixels, by what they show."""

    size_inputs: ClassVar[Mapping[str, str]] = {
        "image": "image_grid_thw",
        "video": "video_grid_thw",
    }
    """Inputs with the sizes of images whose pixels are strung together."""

    image_inputs: ClassVar[tuple[str, ...]] = ()
    """Other inputs with an entry for each image; with `pads_images`, for each sample."""

    video_inputs: ClassVar[tuple[str, ...]]
    stacks_videos: ClassVar[bool]
    pads_images: ClassVar[bool] = False
    """Whether `pixel_values` has a row of images, shorter ones padded, for each sample."""

    @property
    def tokens_per_tile(self) -> int | None:
        """Visual tokens of a tile, in families that cut an image into tiles; else None."""
        return None

    def pixel_units(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Pixels of each unit that is encoded by itself: an image, a tile of one, or a video.

        Args:
            inputs: As from `encode`.

        Returns:
            Views of the inputs: writing into one changes the input.
        """
        found: list[Tensor] = []
        for kind, name in self.pixel_inputs.items():
            if name not in inputs:
                continue
            pixels, sizes = inputs[name], inputs.get(self.size_inputs.get(kind, ""))
            if sizes is not None:
                found += torch.split(pixels, sizes.prod(-1).tolist())
            elif self.pads_images:
                found += [pixels[row, at] for row, at in shown(pixels).nonzero().tolist()]
            else:
                found += list(pixels)
        return found

    def input_rows(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> dict[str, list[int]]:
        """How many entries of each input that is not text belong to each sample, in their order.

        Args:
            inputs: As from `encode`.
            spans: Of these inputs.

        Raises:
            UnsupportedError: The inputs hold more or fewer images than the prompts.
        """
        found: dict[str, list[int]] = {}
        for kind, name in self.pixel_inputs.items():
            images, tokens = self._of_kind(inputs, spans, kind)
            size_name = self.size_inputs.get(kind, "")
            total = len(inputs[name]) if name in inputs else 0
            if size_name in inputs:
                sizes = inputs[size_name].prod(-1).tolist()
                _check(kind, images, len(sizes))
                ends = [0, *accumulate(images)]
                found[size_name] = images
                found[name] = [sum(sizes[start:end]) for start, end in pairwise(ends)]
            elif name in inputs and self.pads_images:
                _check("row of images", [1] * len(spans), total)
                found[name] = [1] * len(spans)
            elif name in inputs:
                counts = images
                stacked = kind == "video" and self.stacks_videos
                if (sum(images) != total or self.tokens_per_tile) and not stacked:
                    # tiles of one size: all have as many visual tokens
                    each = self.tokens_per_tile or max(1, sum(tokens) // max(1, total))
                    counts = [count // each for count in tokens]
                _check(kind, counts, total)
                found[name] = counts
        every, videos = (self._of_kind(inputs, spans, kind)[0] for kind in ("image", "video"))
        if self.pads_images:
            every = [1] * len(spans)
        found |= {name: every for name in self.image_inputs if name in inputs}
        return found | {name: videos for name in self.video_inputs if name in inputs}

    def select_rows(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans], rows: Sequence[int]
    ) -> dict[str, Tensor]:
        """Inputs of some samples of a batch.

        Args:
            inputs: As from `encode`, with texts or without.
            spans: Of the whole batch.
            rows: Which samples, in the order that is wanted; one may come several times.

        Raises:
            UnsupportedError: An input cannot be split by samples.
        """
        counts = self.input_rows(inputs, spans)
        unknown = sorted(set(inputs) - set(counts) - set(TEXT))
        if unknown:
            raise UnsupportedError(
                f"it is not known which rows of the batch {', '.join(unknown)} belong to: run the "
                "samples one by one"
            )
        found: dict[str, Tensor] = {}
        for name, value in inputs.items():
            if name in TEXT:
                found[name] = value[list(rows)]
            elif any(spans[row].images for row in rows):
                ends = [0, *accumulate(counts[name])]
                chosen = torch.cat([value[ends[row] : ends[row + 1]] for row in rows])
                if len(chosen):
                    found[name] = chosen
        return self._trimmed(found) if self.pads_images else found

    def _trimmed(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rows of images no wider than the widest of them."""
        names = [name for name in self.pixel_inputs.values() if name in inputs]
        most = max((int(shown(inputs[name]).sum(1).max()) for name in names), default=0)
        wide = {*names, *self.image_inputs}
        return {name: v[:, :most] if name in wide else v for name, v in inputs.items()}

    @property
    def video_token_id(self) -> int | None:
        """The id that stands for visual tokens of videos, if they have one; see :meth:`by_kind`."""
        return getattr(self.model.config, "video_token_id", None)

    def by_kind(self, ids: Tensor) -> Tensor:
        """Token ids in which visual tokens of videos have an id of their own.

        For families that write one and the same id for those of images and of videos.

        Args:
            ids: Of a batch, shape (B, L), or of one row of it.
        """
        return ids

    def videos_among(self, ids: Tensor, spans: TokenSpans) -> set[int]:
        """Which images of a sample are videos, by their index; `ids` are its row of the batch."""
        ids = self.by_kind(ids)
        starts = enumerate(spans.pad + start for start, _ in spans.images)
        return {owner for owner, start in starts if int(ids[start]) == self.video_token_id}

    def _of_kind(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans], kind: str
    ) -> tuple[list[int], list[int]]:
        """Images or videos of each sample, and the visual tokens of them all."""
        images: list[int] = []
        tokens: list[int] = []
        for ids, sample in zip(inputs["input_ids"], spans, strict=True):
            videos = self.videos_among(ids, sample)
            mine = [run for run in sample.runs if (run.owner in videos) == (kind == "video")]
            images.append(len({run.owner for run in mine}))
            tokens.append(sum(run.end - run.start for run in mine))
        return images, tokens


def _check(what: str, counts: Sequence[int], given: int) -> None:
    if sum(counts) != given:
        raise UnsupportedError(
            f"the prompt's rows have {list(counts)} {what}s, but pixels of {given} were given"
        )
