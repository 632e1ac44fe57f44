"""Pixels of families that take a row of images for each sample: (B, n, 3, H, W).

Shorter rows are padded by images of zeros, by which the models know the padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def shown(pixels: Tensor) -> Tensor:
    """Which images of rows (B, n, 3, H, W) are none of the padding, boolean (B, n)."""
    return pixels.flatten(2).any(-1)


def padded_rows(images: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """Rows of images, shorter ones padded.

    An image that is all zeros (a black one, where the processor takes no mean off) would be taken
    for padding: one of its values becomes the smallest number there is.

    Args:
        images: Row after row, at least one, each of shape (3, H, W).
        counts: Images of each row.

    Returns:
        Shape (rows, most images, 3, H, W).

    Example:
        >>> rows = padded_rows([torch.ones(3, 2, 2), torch.zeros(3, 2, 2)], [0, 2])
        >>> rows.shape, shown(rows).tolist()
        (torch.Size([2, 2, 3, 2, 2]), [[False, False], [True, True]])
    """
    least = torch.finfo(images[0].dtype).tiny
    stacked = torch.stack(list(images))
    stacked[~shown(stacked[None])[0], 0, 0, 0] = least
    most = max(counts)
    rows = stacked.new_zeros(len(counts), most, *stacked.shape[1:])
    rows[torch.arange(most) < torch.tensor(counts)[:, None]] = stacked
    return rows
