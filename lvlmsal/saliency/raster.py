"""Values of visual tokens that are no grid, drawn on a picture cell by cell."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST = 96
"""Cells of a side at most."""


def raster_shape(boxes: Tensor) -> tuple[int, int]:
    """(rows, columns) of cells that are as small as the smallest boxes.

    Args:
        boxes: left, top, right and bottom of each token as shares of the picture, (n, 4); `nan` for
            a token that is nowhere.

    >>> raster_shape(torch.tensor([[0, 0, 1, 1.0], [0, 0, 0.5, 0.25]]))
    (4, 2)
    """
    placed = boxes[~boxes.isnan().any(1)]
    if not len(placed):
        return (1, 1)
    across, down = (placed[:, 2:] - placed[:, :2]).amin(0).clamp(min=1 / _MOST).tolist()
    return max(1, round(1 / down)), max(1, round(1 / across))


def raster(values: Tensor, boxes: Tensor) -> Tensor:
    """The mean of the tokens that lie over the middle of each cell; zero where there is none.

    Where a family shows the whole picture and parts of it in tiles, several tokens see a place.

    Args:
        values: of the tokens, shape (..., n).
        boxes: as for :func:`raster_shape`.

    Returns:
        Shape (..., rows, columns).

    >>> boxes = torch.tensor([[0, 0, 1, 1], [0, 0, 0.5, 1], [0.5, 0, 1, 1]])
    >>> raster(torch.tensor([1.0, 3.0, 5.0]), boxes)
    tensor([[2., 3.]])
    """
    rows, columns = raster_shape(boxes)
    y, x = ((torch.arange(size) + 0.5) / size for size in (rows, columns))
    left, top, right, bottom = boxes.T[:, :, None]
    across = (left <= x) & (x < right)
    down = (top <= y) & (y < bottom)
    over = (down[:, :, None] & across[:, None, :]).flatten(1).to(values)
    drawn: Tensor = values @ over / over.sum(0).clamp(min=1)
    return drawn.reshape(*values.shape[:-1], rows, columns)
