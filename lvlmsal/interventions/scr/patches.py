"""Patches of an image: which of them text looks at, and who gives to whom in SCR."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor

from lvlmsal.adapters.base import check_grids
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.layers import LayerSpec, resolve_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention

_AROUND = [step for step in product((-1, 0, 1), repeat=2) if step != (0, 0)]


@dataclass(frozen=True)
class Grid:
    """Visual tokens of one image or video, row by row.

    Attributes:
        rows: of all panels together, which stand one below the other.
        columns: of every panel.
        panels: tiles of the image or frames of the video.
    """

    rows: int
    columns: int
    panels: int = 1

    @property
    def height(self) -> int:
        """Rows of one panel."""
        return self.rows // self.panels

    def on_border(self, patch: int) -> bool:
        """Whether a patch stands in the first or last row or column of its panel."""
        row, column = divmod(patch, self.columns)
        return row % self.height in (0, self.height - 1) or column in (0, self.columns - 1)

    def around(self, patch: int) -> list[int]:
        """The patches that touch one, corners included, in its own panel; up to 8.

        >>> Grid(4, 2, panels=2).around(2)
        [0, 1, 3]
        """
        row, column = divmod(patch, self.columns)
        found = []
        for down, right in _AROUND:
            there, beside = row + down, column + right
            inside = there // self.height == row // self.height and 0 <= beside < self.columns
            if inside and there >= 0:
                found.append(there * self.columns + beside)
        return found


@dataclass(frozen=True)
class Spread:
    """Which patches give, and who takes.

    Attributes:
        sources: patches that give, the most attended first.
        pairs: (neighbor, source) of each patch that takes; nobody takes twice, no source takes.
    """

    sources: list[int]
    pairs: list[tuple[int, int]]


def spread(attention: Tensor, grid: Grid, k: int, *, exclude_border: bool = True) -> Spread:
    """The most attended patches of an image, and the neighbors that each of them gives to.

    All sources are chosen before any neighbor is: a source takes from no other one. A neighbor
    of several belongs to the one that is attended to most.

    Args:
        attention: that the patches receive, shape (rows * columns,).
        grid: of the patches.
        k: sources at most; of equally attended ones the earlier.
        exclude_border: whether patches on the border of their panel give nothing. They may take.

    >>> import torch
    >>> spread(torch.tensor([0, 0, 0, 0, 1.0, 2.0, 0, 0, 0, 0, 0, 0]), Grid(3, 4), 1).pairs
    [(0, 5), (1, 5), (2, 5), (4, 5), (6, 5), (8, 5), (9, 5), (10, 5)]
    """
    order = attention.sort(descending=True, stable=True).indices.tolist()
    givers = [patch for patch in order if not (exclude_border and grid.on_border(patch))]
    sources = givers[:k]
    taken = set(sources)
    pairs = []
    for source in sources:
        for neighbor in grid.around(source):
            if neighbor not in taken:
                taken.add(neighbor)
                pairs.append((neighbor, source))
    return Spread(sources, pairs)


def grids_of(prompt: Prompt) -> list[list[Grid]]:
    """The grid of each image or video of each row.

    Raises:
        UnsupportedError: the visual tokens of an image are no grid.
    """
    adapter, found = prompt.adapter, []
    grids = iter(adapter.image_grids(prompt.inputs, prompt.spans))
    panels = iter(adapter.panels(prompt.inputs, prompt.spans))
    for row, spans in enumerate(prompt.spans):
        count = len(spans.images)
        mine = list(islice(grids, count))
        check_grids(row, spans, mine)
        shapes = [grid for grid in mine if grid is not None]
        if len(shapes) < count:
            raise UnsupportedError(
                "SCR moves hidden states between neighbors of a grid, and the visual tokens of an "
                f"image of {adapter.family or type(adapter).__name__} are none"
            )
        stacked = zip(shapes, islice(panels, count), strict=True)
        found.append([Grid(*shape, tiles) for shape, tiles in stacked])
    return found


class TextToImage(AttentionIntervention):
    """Edits nothing: averages the attention of a prompt's text behind its last image."""

    def __init__(self, layers: LayerSpec) -> None:
        self.layers = layers
        self.found: dict[int, Tensor] = {}

    def look(self, prompt: Prompt, **how: Any) -> None:
        """Run a prompt through the layers that are looked at; see ``Prompt.run``."""
        last = resolve_layers(self.layers, prompt.adapter.num_layers)[-1]
        prompt.run(self, layers=last + 1, **how)

    @property
    def attention(self) -> Tensor:
        """Mean over text rows, heads and layers, for each column, (B, k), on the CPU."""
        return torch.stack([found.cpu() for found in self.found.values()]).mean(0)

    def first_row(self, context: AttentionContext) -> int:
        """The first text row behind an image of any sample."""
        ends = [spans.pad + spans.images[-1][1] for spans in context.spans if spans.images]
        start = context.first_query_column
        return max(0, min(ends, default=start + len(context.query_columns)) - start)

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Note the mean of the text rows; the weights stay."""
        position = context.query_positions
        first = position.new_tensor([spans.prompt for spans in context.spans])
        text = ((position >= first[:, :1]) & (position < first[:, 1:])).to(weights)
        total = (weights.mean(1) * text[:, :, None]).sum(1)
        self.found[context.layer] = total / text.sum(1, keepdim=True).clamp(min=1)
        return weights
