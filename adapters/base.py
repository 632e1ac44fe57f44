"""What every adapter can do, over the accessors that all families of transformers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from lvlmsal.adapters.encoding import Encoding
from lvlmsal.adapters.parts import ModelParts
from lvlmsal.adapters.pixels import PixelInputs
from lvlmsal.adapters.processors import remember_processor
from lvlmsal.adapters.runs import Interval, cut_frames
from lvlmsal.adapters.spans import TokenSpans, find_spans
from lvlmsal.adapters.towers import Tower
from lvlmsal.adapters.unwrapping import check_generate
from lvlmsal.errors import UnsupportedError

GUIDE = "docs/contributing/adapter.md"


class ModelAdapter(ModelParts, Encoding, PixelInputs, ABC):
    """Knows one family of models: where its parts are, and how images and prompts become tokens.

    A family whose parts answer to the generic accessors of transformers (`get_decoder`,
    `get_output_embeddings`, `get_encoder`) needs no more than :meth:`image_grids`.

    Args:
        model: A model with weights, on any device.
        processor: Needed by :meth:`encode`, :meth:`decode` and :meth:`token_texts`.

    Raises:
        UnsupportedError: The model has no text decoder with layers where this family keeps it, or a
            ``generate`` that runs another model.
    """

    name: ClassVar[str]
    architectures: ClassVar[tuple[str, ...]] = ()
    family: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    auto_class: ClassVar[str] = "AutoModelForImageTextToText"
    """Name of the class of transformers that reads its checkpoints."""
    wraps_images: ClassVar[bool] = False
    """Whether a mark stands before the visual tokens of each image, and one behind them."""
    embeds_marks: ClassVar[bool] = False
    """Whether a pass with pixels embeds the marks of an image in another way than one without."""
    mixes_beams: ClassVar[bool] = False
    """Whether transformers gives beams the images of a prompt with several in another order."""

    def __init__(self, model: PreTrainedModel, processor: Any | None = None) -> None:
        check_generate(model)
        self.model = model
        self.processor = processor
        if processor is not None:
            remember_processor(model, processor)
        if not self.layers or len(self.attention_modules) != self.num_layers:
            raise UnsupportedError(
                f"{type(self).__name__} found no decoder layers with `{self.attention_name}` in "
                f"{type(model).__name__}; see {GUIDE}"
            )

    @classmethod
    def takes(cls, config: PreTrainedConfig) -> bool:
        """Whether a model of this architecture is of this family, by its config."""
        return True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.model).__name__}, {self.num_layers} layers)"

    @property
    def tower(self) -> Tower:
        """The image encoder, for methods that look into it or change what it hands over.

        Raises:
            UnsupportedError: nothing is known of this family's.
        """
        raise UnsupportedError(
            f"{type(self.model).__name__} has no image encoder that can be looked into: that is "
            "known of LLaVA-1.5, LLaVA-NeXT and what shares their form"
        )

    @property
    def image_token_ids(self) -> tuple[int, ...]:
        """Ids that stand for visual tokens: of images and, where the family has them, of videos."""
        ids = (getattr(self.model.config, "image_token_id", None), self.video_token_id)
        return tuple(int(value) for value in ids if value is not None)

    def spans(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        output_start: int | None = None,
    ) -> list[TokenSpans]:
        """Read off where system prompt, images, question and output of each sample stand.

        Args:
            input_ids: Shape (B, L), placeholders expanded.
            attention_mask: Shape (B, L) or that of the prompt; None: no padding.
            output_start: Column of the first generated token; None: nothing is generated yet.

        Returns:
            One entry for each row.

        Raises:
            LvlmsalError: Padding that is not at the left.
        """
        return find_spans(
            self.by_kind(input_ids),
            attention_mask,
            self.image_token_ids,
            output_start=output_start,
            split=self.tokens_per_image,
            within=self.within_image,
            video=self.video_token_id,
            within_video=self.within_video,
        )

    def spans_by_frame(self, inputs: Mapping[str, Tensor]) -> list[TokenSpans]:
        """The spans of a batch, in which each frame of a video has runs of its own.

        Args:
            inputs: As from :meth:`encode`.
        """
        spans = self.spans(inputs["input_ids"], inputs.get("attention_mask"))
        if not self.takes_videos:
            return spans
        panels = iter(self.panels(inputs, spans))
        found = []
        for ids, sample in zip(inputs["input_ids"], spans, strict=True):
            counts = list(islice(panels, len(sample.images)))
            frames = {owner: counts[owner] for owner in self.videos_among(ids, sample)}
            found.append(replace(sample, runs=cut_frames(sample.runs, frames, self.video_ends)))
        return found

    def within_video(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """Whether visual tokens of videos on both sides of some others are of one video.

        As :meth:`within_image`, for families that write text between the frames of a video.
        """
        return False

    def within_image(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """Whether visual tokens on both sides of some others are of one and the same image.

        Families that write marks between the rows or the tiles of an image tell these from what
        stands between two images.

        Args:
            gap: Ids between two runs of visual tokens, at least one.
            closing: Ids that stand right behind the last visual token of a sample of the batch:
                where a mark closes an image, it is in here.
        """
        return False

    def lost_in_beams(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> str:
        """What of a batch transformers does not give to the right beams, in words; empty: nothing.

        Args:
            inputs: As from :meth:`encode`.
            spans: Of these inputs.
        """
        most = max(len(sample.images) for sample in spans)
        if not self.mixes_beams or most < 2:
            return ""
        return f"the images of a prompt of {self.family} that has {most} of them, not one"

    def goes_on(self, inputs: Mapping[str, Tensor]) -> bool:
        """Whether positions of what follows the beginning of a prompt do not depend on its length.

        Questions about the same video share a cache of it only then.

        Args:
            inputs: Of the beginning.
        """
        return True

    @property
    def tokens_per_image(self) -> int | None:
        """Visual tokens of an image, where they are the same for every image; else None.

        It tells images apart that touch one another.
        """
        return None

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """Where an image stands with the marks around it; `ids` are the sample's, unpadded."""
        wrap = int(self.wraps_images)
        return max(0, image[0] - wrap), image[1] + wrap

    @abstractmethod
    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> Sequence[tuple[int, int] | None]:
        """Grid of the visual tokens of every image of a batch.

        Args:
            inputs: As from :meth:`encode`.
            spans: Of these inputs.

        Returns:
            (rows, columns) of each image, sample by sample, in the order of the sequence; None for
            one whose visual tokens are no grid. :meth:`patch_boxes` may then say where they are.
        """

    def panels(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> list[int]:
        """How many tiles of each image, or frames of each video, there are in a batch."""
        stacked = self.stacks_videos and "pixel_values_videos" in inputs
        frames = inputs["pixel_values_videos"].shape[1] if stacked else 1
        return [
            frames if image in self.videos_among(ids, sample) else 1
            for ids, sample in zip(inputs["input_ids"], spans, strict=True)
            for image in range(len(sample.images))
        ]

    def patch_boxes(
        self, inputs: Mapping[str, Tensor], row: int, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor | None]:
        """Where on the picture the visual tokens of each image of one sample are.

        Args:
            inputs: As from :meth:`encode`.
            row: Of the sample in the batch.
            sizes: Width and height of each picture as it was given.

        Returns:
            For each image a box for each of its visual tokens: left, top, right and bottom as
            shares of what the model saw of the picture, shape (n, 4), `nan` for a token that is
            nowhere, such as the end of a row. None where the grid says it, as by default: it lies
            over the whole picture.
        """
        spans = self.spans(inputs["input_ids"], inputs.get("attention_mask"))
        return [None for _ in spans[row].images]

    def patch_grids(self, inputs: Mapping[str, Tensor], row: int) -> list[tuple[int, int] | None]:
        """Grid of the visual tokens of each image of one sample, to draw a map over the image.

        Args:
            inputs: As from :meth:`encode`.
            row: Of the sample in the batch.

        Returns:
            (rows, columns) of each image; their product is the number of its visual tokens. Several
            tiles or frames are stacked, one below the other. None where they are no grid.

        Raises:
            UnsupportedError: The grids are those of other images.
        """
        spans = self.spans(inputs["input_ids"], inputs.get("attention_mask"))
        grids = self.image_grids(inputs, spans)
        first = sum(len(sample.images) for sample in spans[:row])
        mine = list(grids[first : first + len(spans[row].images)])
        check_grids(row, spans[row], mine)
        return mine


def check_grids(row: int, spans: TokenSpans, grids: Sequence[tuple[int, int] | None]) -> None:
    """Compare the grids of the images of a sample with their numbers of visual tokens.

    Raises:
        UnsupportedError: They do not fit.
    """
    counts = [len(spans.positions(image)) for image in range(len(spans.images))]
    cells = [None if grid is None else grid[0] * grid[1] for grid in grids]
    if len(counts) != len(cells) or any(
        made not in (None, count) for made, count in zip(cells, counts, strict=True)
    ):
        raise UnsupportedError(
            f"sample {row} has images of {counts} visual tokens, which are not grids {list(grids)}"
        )
