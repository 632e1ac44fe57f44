"""Where the system prompt, the images, the question and the answer of a sample stand.

Spans are read off the token ids of each sample, never assumed: one model yields other spans for
another prompt, another image size or another number of images.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from lvlmsal.adapters.runs import Interval, Run, Within, check_runs, closing_ids, find_runs
from lvlmsal.errors import LvlmsalError

__all__ = ["ContextName", "Interval", "Run", "TokenSpans", "find_spans"]

ContextName = Literal["after_image", "output"]


@dataclass(frozen=True)
class TokenSpans:
    """The parts of one sample's sequence, as positions that do not count the padding.

    Position 0 is the first real token, so ``column = position + pad``. The parts tile the sequence:
    :meth:`segments` lists them in order, without a gap or an overlap.

    Attributes:
        pad: Number of padding columns at the left.
        images: One interval for each image or video, in the order of the sequence: from its first
            visual token to its last one.
        output_start: Position of the first generated token.
        length: Number of real tokens, the generated ones included.
        runs: The visual tokens, in the order of the sequence. Some families write other tokens
            between those of an image, behind each row of patches or around each tile; then it has
            several runs. Without them each image is one run.

    Example:
        >>> spans = TokenSpans(pad=2, images=((5, 9),), output_start=12, length=15)
        >>> spans.system, spans.prompt, spans.output
        ((0, 5), (9, 12), (12, 15))
        >>> rows = (Run(5, 7, owner=0), Run(8, 10, owner=0))
        >>> spans = TokenSpans(0, ((5, 10),), output_start=12, length=15, runs=rows)
        >>> spans.positions(0), spans.between
        ([5, 6, 8, 9], ((7, 8),))
    """

    pad: int
    images: tuple[Interval, ...]
    output_start: int
    length: int
    runs: tuple[Run, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Check that the parts can tile the sequence.

        Raises:
            ValueError: Intervals out of order, overlapping, empty, or beyond the sequence; or runs
                that are not those of the images.
        """
        if not self.runs:
            runs = tuple(Run(*interval, owner) for owner, interval in enumerate(self.images))
            object.__setattr__(self, "runs", runs)
        edge = 0
        for start, end in self.images:
            if not edge <= start < end:
                raise ValueError(f"image intervals {self.images} overlap or are out of order")
            edge = end
        check_runs(self.images, self.runs)
        if self.pad < 0 or not edge <= self.output_start <= self.length:
            raise ValueError(
                f"expected pad >= 0 and image end {edge} <= output_start <= length, got {self}"
            )

    @property
    def system(self) -> Interval:
        """What stands before the first image; empty, ``(0, 0)``, where there is no image."""
        return (0, self.images[0][0]) if self.images else (0, 0)

    @property
    def between(self) -> tuple[Interval, ...]:
        """What stands between runs of visual tokens: part of neither system nor prompt.

        That is text between one image and the next, and marks between the runs of one image. Empty
        where images touch.
        """
        pairs = pairwise(self.runs)
        return tuple((left.end, right.start) for left, right in pairs if left.end < right.start)

    @property
    def visual(self) -> tuple[Interval, ...]:
        """The visual tokens, as one interval for each run."""
        return tuple((run.start, run.end) for run in self.runs)

    def positions(self, image: int) -> list[int]:
        """Positions of the visual tokens of one image or video, in order."""
        return [at for r in self.runs if r.owner == image for at in range(r.start, r.end)]

    def frames(self, image: int) -> int:
        """How many frames a video has, where its runs say so; 1 for an image."""
        return len({r.frame for r in self.runs if r.owner == image and r.frame is not None}) or 1

    @property
    def pictures(self) -> list[list[int]]:
        """Positions of the visual tokens of each picture: an image, or a frame of a video.

        A video whose frames are not known is one picture.
        """
        framed = {run.owner for run in self.runs if run.frame is not None}
        found: dict[tuple[int, int | None], list[int]] = {}
        for run in self.runs:
            if run.frame is not None or run.owner not in framed:
                places = found.setdefault((run.owner, run.frame), [])
                places += range(run.start, run.end)
        return list(found.values())

    @property
    def prompt(self) -> Interval:
        """Text from the last image to the output; all of it where there is no image."""
        return (self.images[-1][1] if self.images else 0, self.output_start)

    @property
    def output_column(self) -> int:
        """Column of the first generated token, padding counted: the width of the prompt."""
        return self.pad + self.output_start

    @property
    def output(self) -> Interval:
        """The generated tokens."""
        return (self.output_start, self.length)

    def context_start(self, context: ContextName) -> int:
        """First position of the set of earlier tokens that SGRS and LocoRE look back at.

        Args:
            context: ``"after_image"`` takes everything after the last image, as the paper's formula
                (``Sys + Img <= j < P``) says: the question's own tokens too. ``"output"`` takes the
                generated tokens alone.

        Returns:
            A position. ``"after_image"`` of a sample without an image is 0: all of its text.

        Raises:
            ValueError: Another name.
        """
        if context == "after_image":
            return self.prompt[0]
        if context == "output":
            return self.output_start
        raise ValueError(f"context is 'after_image' or 'output', got {context!r}")

    def segments(self) -> list[tuple[str, int, int]]:
        """List every part in order as ``(name, start, end)``.

        Names are ``system``, ``image``, ``between``, ``prompt`` and ``output``. Empty parts are
        left out, so that each part begins where the one before it ends.

        Example:
            >>> TokenSpans(0, ((0, 3), (4, 6)), 6, 8).segments()
            [('image', 0, 3), ('between', 3, 4), ('image', 4, 6), ('output', 6, 8)]
        """
        parts = [
            ("system", *self.system),
            *(("image", *interval) for interval in self.visual),
            *(("between", *interval) for interval in self.between),
            ("prompt", *self.prompt),
            ("output", *self.output),
        ]
        filled = [part for part in parts if part[1] < part[2]]
        return sorted(filled, key=lambda part: part[1])


def find_spans(
    input_ids: Tensor,
    attention_mask: Tensor | None,
    image_token_ids: Collection[int],
    *,
    output_start: int | None = None,
    split: int | None = None,
    within: Within | None = None,
    video: int | None = None,
    within_video: Within | None = None,
) -> list[TokenSpans]:
    """Read the spans of each sample off its token ids.

    An image is a run of one and the same image token id, or several of them.

    Args:
        input_ids: Merged sequence, each image placeholder expanded to as many ids as the image has
            visual tokens, shape (B, L).
        attention_mask: 1 for a real token and 0 for padding, shape (B, L) or (B, `output_start`);
            None: nothing is padded. What it says about generated columns is not read, for a sample
            that ended early is padded there.
        image_token_ids: Ids that stand for visual tokens.
        output_start: Column of the first generated token; None: nothing is generated yet, L. An
            image id that the model itself generated is text.
        split: Tokens of one image, in families where all images take the same number: a run of k
            times as many is k images that touch. None: a run is one image.
        within: Whether two runs are of the same image; None: they never are.
        video: The one of the ids that stands for visual tokens of videos.
        within_video: Whether two runs of that are of the same video; None: they never are.

    Returns:
        One :class:`TokenSpans` for each row.

    Raises:
        LvlmsalError: A row is padded at the right or in the middle, or is nothing but padding.
        ValueError: Shapes that do not fit.

    Example:
        >>> ids = torch.tensor([[0, 5, 9, 9, 6], [5, 5, 9, 9, 9]])
        >>> find_spans(ids, ids != 0, [9])[0]
        TokenSpans(pad=1, images=((1, 3),), output_start=4, length=4)
    """
    if input_ids.ndim != 2:
        raise ValueError(f"input_ids has shape {tuple(input_ids.shape)}, expected (batch, length)")
    rows, length = input_ids.shape
    start = length if output_start is None else output_start
    if not 0 < start <= length:
        raise ValueError(f"output_start is {start}, expected 1 to {length}, the length of the ids")
    pads = _left_padding(attention_mask, rows, start)
    prompt = input_ids[:, :start].cpu()
    wanted = torch.tensor(sorted(image_token_ids), dtype=prompt.dtype)
    closing = closing_ids(prompt, wanted)
    result = []
    for row, pad in zip(prompt, pads, strict=True):
        runs = find_runs(row[pad:], wanted, split, closing, within, video, within_video)
        images: dict[int, Interval] = {}
        for run in runs:
            images[run.owner] = (images.get(run.owner, (run.start, 0))[0], run.end)
        spans = TokenSpans(pad, tuple(images.values()), start - pad, length - pad, runs)
        result.append(spans)
    return result


def _left_padding(attention_mask: Tensor | None, rows: int, start: int) -> list[int]:
    """Count the padding columns of each row, and refuse padding anywhere but at the left."""
    if attention_mask is None:
        return [0] * rows
    if (
        attention_mask.ndim != 2
        or attention_mask.shape[0] != rows
        or attention_mask.shape[1] < start
    ):
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}, "
            f"expected ({rows}, at least {start})"
        )
    real = attention_mask[:, :start].cpu().bool()
    pads = (~real).sum(dim=1)
    for index, (row, pad) in enumerate(zip(real, pads.tolist(), strict=True)):
        if pad == start:
            raise LvlmsalError(f"sample {index} of the batch is nothing but padding")
        if not bool(row[pad:].all()):
            raise LvlmsalError(
                f"sample {index} of the batch has padding after its first token; pad at the left: "
                "processor(..., padding=True, padding_side='left')"
            )
    return [int(pad) for pad in pads]
