"""From a Pillow image of any mode to 8 bits of red, green and blue, turned as its camera noted."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps

from lvlmsal.errors import DataError

_ORIENTATION: Final = 0x0112
"""The EXIF tag that says how the camera was held; 1 is upright."""

_ALPHA: Final = ("RGBA", "LA", "PA", "RGBa", "La")
_MAY_HAVE_A_CLEAR_COLOR: Final = ("1", "L", "RGB", "P")
_SIXTEEN_BITS: Final = ("I;16", "I;16L", "I;16B", "I;16N")
_FILES_OF_SIXTEEN_BITS: Final = ("PNG", "PPM", "JPEG2000")
"""Formats whose samples have at most 16 bits, so that Pillow's mode I holds 0 to 65535."""

_OPAQUE: Final = (*_MAY_HAVE_A_CLEAR_COLOR, "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says, and convert it to RGB without guessing.

    Args:
        image: Of any mode. 16-bit gray levels are divided by 257, floats in [0, 1] are multiplied
            by 255, whatever is transparent is composed on white.

    Returns:
        The image in RGB, without metadata; the image itself where nothing is to be done.

    Raises:
        DataError: The mode has no known range, or values lie outside of it.
    """
    image.load()
    upright = image.getexif().get(_ORIENTATION, 1) == 1
    if upright and image.mode == "RGB" and "transparency" not in image.info:
        return image
    turned = image if upright else ImageOps.exif_transpose(image)
    converted = _converted(turned, image.format)
    # What the image says of its orientation no longer holds: nothing may turn it a second time.
    converted.info = {}
    return converted


def _converted(image: Image.Image, file_format: str | None) -> Image.Image:
    mode = image.mode
    clear = image.info.get("transparency")
    if mode in _SIXTEEN_BITS or (mode == "I" and file_format in _FILES_OF_SIXTEEN_BITS):
        values = np.asarray(image)
        levels = from_sixteen_bits(values)
        if isinstance(clear, int):
            levels[values == clear] = 255
        return Image.fromarray(levels).convert("RGB")
    if mode == "F":
        return Image.fromarray(from_unit_range(np.asarray(image))).convert("RGB")
    if mode in _ALPHA or (mode in _MAY_HAVE_A_CLEAR_COLOR and clear is not None):
        return on_white(image)
    if mode in _OPAQUE:
        return image.convert("RGB")
    advice = (
        "32-bit integers have no known range; scale them and give an array of uint8 or uint16"
        if mode == "I"
        else "convert it to RGB first"
    )
    raise DataError(f"the image has the mode {mode!r}: {advice}")


def on_white(image: Image.Image) -> Image.Image:
    """Compose an image with transparency on white, as a page or a viewer shows it."""
    # Pillow converts gray with premultiplied alpha in two steps only
    picture = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture).convert("RGB")


def from_sixteen_bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Gray levels of 0 to 65535 as uint8: divided by 257, which maps 65535 to 255, and rounded."""
    levels: np.ndarray[Any, Any] = (values.astype(np.uint32) + 128) // 257
    return levels.astype(np.uint8)


def from_unit_range(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Floats in [0, 1] as uint8.

    Raises:
        DataError: Values lie outside or are not finite.
    """
    low, high = float(values.min()), float(values.max())
    # a comparison with NaN is false, so that one is refused, too
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"the image holds floats from {low:g} to {high:g}; expected 0 (black) to 1 (white). "
            "Scale them, or give gray levels of 0 to 255 as uint8"
        )
    levels: np.ndarray[Any, Any] = np.rint(values.astype(np.float64) * 255)
    return levels.astype(np.uint8)
