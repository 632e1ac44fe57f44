"""Places on a picture: a box for each visual token, in shares of the picture's width and height."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def grid_boxes(rows: int, columns: int, within: Box = WHOLE) -> Tensor:
    """Boxes of a grid of patches, row by row, shape (rows * columns, 4).

    Args:
        rows: of the grid.
        columns: of the grid.
        within: the part of the picture over which it lies, such as a tile.

    >>> grid_boxes(1, 2, within=(0.5, 0.0, 1.0, 1.0)).tolist()
    [[0.5, 0.0, 0.75, 1.0], [0.75, 0.0, 1.0, 1.0]]
    """
    left, top, right, bottom = within
    across = torch.linspace(left, right, columns + 1)
    down = torch.linspace(top, bottom, rows + 1)
    boxes = [
        torch.stack(
            [across[:-1], down[row].expand(columns), across[1:], down[row + 1].expand(columns)]
        )
        for row in range(rows)
    ]
    return torch.cat(boxes, dim=1).T


def with_row_ends(boxes: Tensor, columns: int) -> Tensor:
    """Boxes of a grid with a token that is nowhere behind each row, (rows * (columns + 1), 4)."""
    rows = boxes.reshape(-1, columns, 4)
    ends = rows.new_full((len(rows), 1, 4), torch.nan)
    return torch.cat([rows, ends], dim=1).reshape(-1, 4)


def tile_boxes(tile: tuple[int, int], rows: int, columns: int, *, overview: str = "") -> Tensor:
    """Boxes of the visual tokens of a picture that is cut into tiles, each a grid of its own.

    Args:
        tile: rows and columns of the grid of each tile.
        rows: of tiles.
        columns: of tiles.
        overview: where the tokens of the whole picture stand: ``"first"``, ``"last"``, or nowhere.

    >>> tile_boxes((1, 1), 1, 2, overview="last").tolist()
    [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    """
    whole = grid_boxes(*tile)
    tiles = [grid_boxes(*tile, within=_box(place)) for place in grid_boxes(rows, columns)]
    before, behind = ([whole] if overview == place else [] for place in ("first", "last"))
    return torch.cat([*before, *tiles, *behind])


def _box(place: Tensor | Sequence[float]) -> Box:
    left, top, right, bottom = (float(edge) for edge in place)
    return left, top, right, bottom
