"""What the page's script does with packed arrays, written once more from its description."""

from __future__ import annotations

import base64
import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


def unpack(packed: dict[str, Any]) -> dict[str, npt.NDArray[np.float64]]:
    """Arrays by name."""
    content = zlib.decompress(base64.b64decode(packed["data"]), wbits=-15)
    arrays, start = {}, 0
    for name, about in packed["arrays"].items():
        count = math.prod(about["shape"])
        values = [about["max"] * (level / 255) ** 2 for level in content[start : start + count]]
        arrays[name] = np.array(values).reshape(about["shape"])
        start += count
    assert start == len(content)
    return arrays


def bound(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each value of an array may move: half a step of the level, through the square."""
    largest = values.max(initial=0.0)
    if largest == 0:
        return np.zeros_like(values)
    level = np.sqrt(values / largest)
    up, down = level + 1 / 510, np.maximum(level - 1 / 510, 0)
    moved: npt.NDArray[np.float64] = largest * np.maximum(up**2 - level**2, level**2 - down**2)
    return moved + 1e-6 * largest  # sums in single precision
