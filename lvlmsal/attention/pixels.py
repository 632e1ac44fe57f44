"""What the image encoder was given: ``generate`` runs it before the first pass of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.image_rows import padded_rows, shown
from lvlmsal.adapters.spans import TokenSpans

PIXELS = {"image": "pixel_values", "video": "pixel_values_videos"}
GRIDS = {"image": "image_grid_thw", "video": "video_grid_thw"}
"""Inputs of ``generate`` by modality: pixels, and the sizes of images that are strung together."""


def units(pixels: Tensor, grids: Tensor | None, *, rows: bool = False) -> list[Tensor]:
    """Pixels of each unit that is encoded by itself: an image, a tile of one, or a video.

    Args:
        pixels: of an input, or as the encoder was given them.
        grids: sizes of units that are strung together.
        rows: whether each sample has a row of images (``ModelAdapter.pads_images``).
    """
    if grids is not None:
        return list(torch.split(pixels, grids.prod(-1).tolist()))
    return list(pixels[shown(pixels)] if rows else pixels)


def joined(
    parts: Sequence[Tensor],
    grids: Tensor | None,
    adapter: ModelAdapter,
    spans: Sequence[TokenSpans],
) -> Tensor:
    """The pixels of a prompt whose units these are; the spans are those of its rows."""
    if grids is not None:
        return torch.cat(list(parts))
    if adapter.pads_images:
        return padded_rows(parts, [len(row.images) for row in spans])
    return torch.stack(list(parts))


class EncodedImages:
    """Remembers the last calls of an image encoder, to tell which pixels a prompt was made of."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Tensor, Tensor | None]] = deque(maxlen=len(PIXELS))

    def note(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A forward pre-hook of the encoder."""
        given = [*args, *kwargs.values()]
        tensors = [value for value in given if isinstance(value, Tensor)]
        grid = kwargs.get("grid_thw", args[1] if len(args) > 1 else None)
        self._calls.append((tensors[0], grid if isinstance(grid, Tensor) else None))

    def inputs(
        self, adapter: ModelAdapter, spans: Sequence[TokenSpans], encoded: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """Pixels and grids of a prompt, in the order of its rows, beams included.

        Args:
            adapter: of the model.
            spans: one for each row of the batch.
            encoded: ``mm_encoder_outputs`` of the pass: features of each unit, or of all units of a
                row, repeated for beams.

        Returns:
            Inputs of ``generate``; nothing where the encoder was not run in this scope, or where
            it cannot be told which features are whose.
        """
        given = {name: getattr(encoded.get(name), "pooler_output", None) for name in PIXELS}
        features = {name: of_units for name, of_units in given.items() if of_units is not None}
        kinds = list(features)
        calls = list(self._calls)[-len(kinds) :] if kinds else []
        self._calls.clear()
        if len(calls) < len(kinds):
            return {}
        found = {}
        for kind, (pixels, grids) in zip(kinds, calls, strict=True):
            known = units(pixels, grids)
            sizes = [len(unit) for unit in features[kind]]
            if adapter.pads_images and (each := adapter.tokens_per_image):
                sizes = [each] * (sum(sizes) // each)
            if len(sizes) < len(known):
                return {}  # strung together for a prompt that is run in chunks
            order = _repeated(sizes, len(known), spans, alone=len(kinds) == 1)
            mine = [known[index] for index in order]
            found[PIXELS[kind]] = joined(mine, grids, adapter, spans)
            if grids is not None:
                found[GRIDS[kind]] = grids[order]
        return found


def _repeated(
    sizes: Sequence[int], known: int, spans: Sequence[TokenSpans], *, alone: bool
) -> list[int]:
    """Which of the known units each expanded one is: beams repeat the units of their sample.

    Args:
        sizes: visual tokens of each expanded unit.
        known: number of units before beams were expanded.
        spans: of the rows.
        alone: whether all visual tokens of the rows are of this kind.
    """
    beams = len(sizes) // known
    if beams == 1 or not alone:
        return list(range(known)) * beams
    # A row's units are those whose ends lie within its visual tokens.
    ends = list(accumulate(sizes))
    of_rows = list(accumulate(sum(b - a for a, b in row.images) for row in spans))
    stops = [sum(end <= limit for end in ends) for limit in of_rows]
    order: list[int] = []
    first = 0
    for row in range(0, len(spans), beams):
        count = stops[row] - (stops[row - 1] if row else 0)
        order += list(range(first, first + count)) * beams
        first += count
    return order
