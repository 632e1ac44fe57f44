"""What the image encoder was given: ``generate`` runs it before the first pass of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from lvlmsal.adapters.spans import TokenSpans

PIXELS = {"image": "pixel_values", "video": "pixel_values_videos"}
GRIDS = {"image": "image_grid_thw", "video": "video_grid_thw"}
"""Inputs of ``generate`` by modality: pixels, and the sizes of images that are strung together."""


def units(pixels: Tensor, grids: Tensor | None) -> list[Tensor]:
    """Pixels of each unit that is encoded by itself: an image, a tile of one, or a video."""
    if grids is None:
        return list(pixels)
    return list(torch.split(pixels, grids.prod(-1).tolist()))


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

    def inputs(self, spans: Sequence[TokenSpans], encoded: Mapping[str, Any]) -> dict[str, Tensor]:
        """Pixels and grids of a prompt, in the order of its rows, beams included.

        Args:
            spans: one for each row of the batch.
            encoded: ``mm_encoder_outputs`` of the pass: features of each unit, repeated for beams.

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
            if len(sizes) < len(known):
                return {}  # strung together for a prompt that is run in chunks
            order = _repeated(sizes, len(known), spans, alone=len(kinds) == 1)
            found[PIXELS[kind]] = (torch.stack if grids is None else torch.cat)(
                [known[index] for index in order]
            )
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
