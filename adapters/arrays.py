"""From arrays and tensors to images in RGB."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters.modes import from_sixteen_bits, from_unit_range, on_white
from lvlmsal.errors import DataError

_CHANNELS: Final = (1, 3, 4)

_SHAPES: Final = (
    "expected (height, width), (height, width, channels) or (channels, height, width) with 1, 3 "
    "or 4 channels"
)


def from_array(values: np.ndarray[Any, Any] | Tensor) -> Image.Image:
    """Make an image of an array or a tensor.

    Args:
        values: Shape (H, W), (H, W, C) or (C, H, W) with 1 (gray), 3 (RGB) or 4 (RGBA) channels;
            uint8 in 0 to 255, uint16 in 0 to 65535, floats in 0 to 1, or booleans.

    Returns:
        The image in RGB; RGBA is composed on white.

    Raises:
        DataError: The shape fits no layout or two of them, or values have no known range.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # numpy has no bfloat16
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    pixels = _rows_first(values)
    if pixels.dtype == np.uint16:
        pixels = from_sixteen_bits(pixels)
    elif pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif np.issubdtype(pixels.dtype, np.floating):
        pixels = from_unit_range(pixels)
    elif pixels.dtype != np.uint8:
        raise DataError(
            f"the image is an array of {pixels.dtype}, which has no known range: expected uint8 "
            "(0 to 255), uint16 (0 to 65535), floats (0 to 1) or booleans. Gray levels of 0 to 255 "
            "become uint8 with array.astype('uint8') or tensor.byte()"
        )
    if pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return on_white(image) if image.mode == "RGBA" else image.convert("RGB")


def array_size(values: np.ndarray[Any, Any] | Tensor) -> tuple[int, int]:
    """Width and height of an image in an array.

    Raises:
        DataError: The shape fits no layout, or two of them.
    """
    shape = tuple(values.shape)
    if len(shape) == 2:
        return shape[1], shape[0]
    if len(shape) == 4:
        raise DataError(
            f"an array of shape {shape} was given as one image; {_SHAPES}. For several images give "
            "a list: list(array)"
        )
    if len(shape) == 3:
        first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
        if first and last:
            raise DataError(
                f"in an array of shape {shape} the channels may stand first or last: give the "
                "image as a Pillow image, Image.fromarray(array)"
            )
        if last:
            return shape[1], shape[0]
        if first:
            return shape[2], shape[1]
    raise DataError(f"an array of shape {shape} is not an image: {_SHAPES}")


def _rows_first(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array in the layout (H, W, C)."""
    width, height = array_size(values)
    if values.size == 0:
        raise DataError(f"an array of shape {values.shape} holds no pixel")
    if values.ndim == 2:
        return values[..., None]
    return values if values.shape[:2] == (height, width) else np.moveaxis(values, 0, -1)
