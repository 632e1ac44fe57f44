"""Which part of an image a word is looked at in, and the crops around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from PIL import Image

from lvlmsal.evidence.base import Box

CENTER: Final = Box(0.2, 0.2, 0.8, 0.8)
"""Where a word is looked at that was found nowhere."""

MOST_SHRUNK: Final = 0.8
"""By no more than this share does the first crop get narrower."""

MOST_OBLONG: Final = 100
"""So many times its shorter side is the longer side of a crop at most; processors have a limit."""


def place_of(found: Sequence[tuple[int, Box]], most: int) -> tuple[int, Box] | None:
    """Where a word is looked at: the smallest box, the center where there is none.

    Args:
        found: boxes of the word, each with the number of its image.
        most: with more boxes than these the word is not looked at.

    >>> place_of([], 3)
    (0, Box(left=0.2, top=0.2, right=0.8, bottom=0.8, score=1.0))
    >>> place_of([(0, CENTER), (1, Box(0.1, 0.1, 0.2, 0.9))], 3)[0]
    1
    >>> place_of([(0, CENTER)] * 4, 3) is None
    True
    """
    if len(found) > most:
        return None
    return min(found, key=lambda each: each[1].area, default=(0, CENTER))


def crop_boxes(box: Box, expand: float, views: int) -> list[Box]:
    """The boxes of crops, the narrowest first.

    The second one is the box itself. The first is narrower and lower by the share ``expand``, 0.8
    at most; each further one is wider and higher than the one before it by that share, and ends
    where the image ends, so that behind an edge of the image it grows to the other side alone.

    Args:
        box: of the word.
        expand: e.
        views: how many, 2 or more.

    >>> for each in crop_boxes(Box(0.4, 0.4, 0.6, 0.6), 0.6, 4):
    ...     print([round(edge, 3) for edge in each[:4]])
    [0.46, 0.46, 0.54, 0.54]
    [0.4, 0.4, 0.6, 0.6]
    [0.34, 0.34, 0.66, 0.66]
    [0.244, 0.244, 0.756, 0.756]
    """
    boxes = [_grown(box, -min(expand, MOST_SHRUNK)), box]
    while len(boxes) < views:
        boxes.append(_grown(boxes[-1], expand))
    return boxes


def cropped(image: Image.Image, box: Box) -> Image.Image:
    """The part of an image that a box covers, of one pixel at least.

    A side below a hundredth of the other one is widened to that around its middle, as far as the
    image goes: Qwen2-VL and others refuse an image of more than 200 times its shorter side.

    >>> cropped(Image.new("RGB", (1000, 40)), Box(0.0, 0.5, 1.0, 0.51)).size
    (1000, 10)
    """
    left, right = _pixels(box.left, box.right, image.width)
    top, bottom = _pixels(box.top, box.bottom, image.height)
    least = math.ceil(max(right - left, bottom - top) / MOST_OBLONG)
    left, right = _widened(left, right, least, image.width)
    top, bottom = _widened(top, bottom, least, image.height)
    return image.crop((left, top, right, bottom))


def _grown(box: Box, share: float) -> Box:
    across = (box.right - box.left) * share / 2
    down = (box.bottom - box.top) * share / 2
    return Box(
        max(0.0, box.left - across),
        max(0.0, box.top - down),
        min(1.0, box.right + across),
        min(1.0, box.bottom + down),
        box.score,
    )


def _pixels(first: float, last: float, length: int) -> tuple[int, int]:
    begin = min(round(first * length), length - 1)
    return begin, max(begin + 1, round(last * length))


def _widened(begin: int, end: int, least: int, length: int) -> tuple[int, int]:
    least = min(least, length)
    if end - begin >= least:
        return begin, end
    begin = max(0, begin - (least - end + begin) // 2)
    begin = min(begin, length - least)
    return begin, begin + least
