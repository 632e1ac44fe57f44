"""The six transformations of RITUAL, on Pillow images whose size stays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter1d

KERNEL: Final = 13
"""Pixels of the blur's kernel, each way."""


def flip(picture: Image.Image, rng: Random) -> Image.Image:
    """Left and right change places."""
    return ImageOps.mirror(picture)


def turn_over(picture: Image.Image, rng: Random) -> Image.Image:
    """Top and bottom change places."""
    return ImageOps.flip(picture)


def rotate(picture: Image.Image, rng: Random) -> Image.Image:
    """Turned about its center by any angle; what comes from outside is black."""
    return picture.rotate(rng.uniform(-180, 180), resample=Image.Resampling.NEAREST)


def color(picture: Image.Image, rng: Random) -> Image.Image:
    """Brightness, contrast, saturation (factors up to 2) and hue (any), in any order."""
    bright, contrast, saturation = (rng.uniform(0, 2) for _ in range(3))
    shift = rng.uniform(-0.5, 0.5)
    steps: list[Callable[[Image.Image], Image.Image]] = [
        lambda given: ImageEnhance.Brightness(given).enhance(bright),
        lambda given: ImageEnhance.Contrast(given).enhance(contrast),
        lambda given: ImageEnhance.Color(given).enhance(saturation),
        lambda given: _hue(given, shift),
    ]
    rng.shuffle(steps)
    for step in steps:
        picture = step(picture)
    return picture


def blur(picture: Image.Image, rng: Random) -> Image.Image:
    """Gaussian blur of a sigma from 1.5 to 2 pixels, by a kernel of 13; margins are mirrored."""
    sigma = rng.uniform(1.5, 2.0)
    values = np.asarray(picture, dtype=np.float64)
    for axis in (0, 1):
        values = gaussian_filter1d(values, sigma, axis, mode="mirror", radius=KERNEL // 2)
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def crop(picture: Image.Image, rng: Random) -> Image.Image:
    """A part of 8 to 100 % of the area, of a ratio from 3/4 to 4/3, scaled to the whole size."""
    width, height = picture.size
    left, top, wide, high = _part(width, height, rng)
    box = (left, top, left + wide, top + high)
    return picture.resize(picture.size, Image.Resampling.BILINEAR, box=box)


TRANSFORMS: Final[Mapping[str, Callable[[Image.Image, Random], Image.Image]]] = {
    "flip": flip,
    "turn-over": turn_over,
    "rotate": rotate,
    "color": color,
    "blur": blur,
    "crop": crop,
}
"""By name; each is as likely as the others."""


def _hue(picture: Image.Image, shift: float) -> Image.Image:
    """Colors go around the circle by a share of it."""
    values = np.array(picture.convert("HSV"))
    values[..., 0] = (values[..., 0].astype(int) + math.floor(shift * 255)) % 256
    return Image.fromarray(values, "HSV").convert("RGB")


def _part(width: int, height: int, rng: Random) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random part; after ten misses the largest central one."""
    for _ in range(10):
        area = width * height * rng.uniform(0.08, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return rng.randint(0, width - wide), rng.randint(0, height - high), wide, high
    wide = min(width, max(1, round(height * 4 / 3)))
    high = min(height, max(1, round(width / (3 / 4))))
    return (width - wide) // 2, (height - high) // 2, wide, high
