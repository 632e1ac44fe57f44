"""The color scale of saliency, in pages, notebooks and wherever else words are colored.

From deep blue to pale yellow, its lightness growing evenly, so that it reads the same with any kind
of color blindness, and in gray.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

RGB = tuple[int, int, int]

RAMPS: Final[dict[str, list[str]]] = {
    "light": [
        *("3f4189", "4b4ca3", "4b5fad", "4b71b5", "4b83bc", "4c95c4", "50a7c9"),
        *("5cb8ca", "76c8c6", "9ad6c0", "bde4bc", "def0b9", "fcfbda"),
    ],
    # in the dark it ends less bright
    "dark": [
        *("2d3274", "383b8d", "374c95", "355d9c", "346da3", "337da9", "378dad"),
        *("429dae", "5dabaa", "7fb8a3", "9fc49f", "becf9b", "d9d9ba"),
    ],
}


def color(share: float, ramp: str = "light") -> RGB:
    """Red, green and blue of a share from 0 to 1; what lies outside has the color of the end.

    >>> color(0), color(1)
    ((63, 65, 137), (252, 251, 218))
    """
    stops = [_channels(text) for text in RAMPS[ramp]]
    place = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    first, second = stops[low : low + 2]
    mixed = [round(a + (place - low) * (b - a)) for a, b in zip(first, second, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def ink_on(rgb: RGB) -> str:
    """Black or white, whichever stands out more on a color (contrast as WCAG 2 defines it).

    >>> ink_on(color(0)), ink_on(color(1))
    ('#fff', '#111')
    """
    shares = [value / 255 for value in rgb]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    light = sum(weight * s for weight, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#111" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "#fff"


def scale_top(values: Sequence[float | None]) -> float:
    """Where a scale from 0 ends: the few largest values would take it for themselves.

    >>> scale_top([0.1, None, 0.3]), scale_top([])
    (0.1, 1.0)
    """
    known = sorted(value for value in values if value is not None)
    return known[int(0.98 * (len(known) - 1))] or 1.0 if known else 1.0


def _channels(text: str) -> list[int]:
    return [int(text[start:end], 16) for start, end in pairwise((0, 2, 4, 6))]
