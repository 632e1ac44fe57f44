"""Arrays as bytes: one byte a value on a square-root scale, deflated, in base64."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Packed = dict[str, Any]
"""``arrays``: name -> shape and largest value, in the order of the bytes; ``data``: the bytes."""

LEVELS = 255


def pack(arrays: Mapping[str, npt.NDArray[np.floating[Any]]]) -> Packed:
    """Write several arrays of values from 0 upwards as one text.

    A value v of an array whose largest value is m becomes the byte q = round(255 * sqrt(v / m)),
    and is read as m * (q / 255) ** 2, so that small values, of which a saliency row has many, are
    distinguished more finely than large ones. No value moves by more than half a level taken
    through the square, m * (sqrt(v / m) / 255 + 1 / 510 ** 2): at most 0.4 % of m, and far less
    where v is small.

    Args:
        arrays: by name, of any shapes, finite and not negative.

    Returns:
        What the page's script reads: the bytes of all arrays, one array after the other in C
        order, under raw deflate.

    Raises:
        ValueError: a value is negative, infinite or nan.

    >>> packed = pack({"row": np.array([[0.0, 0.25, 1.0]])})
    >>> packed["arrays"]
    {'row': {'shape': [1, 3], 'max': 1.0}}
    >>> list(zlib.decompress(base64.b64decode(packed["data"]), wbits=-15))
    [0, 128, 255]
    """
    described: dict[str, dict[str, Any]] = {}
    levels = []
    for name, values in arrays.items():
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"{name} holds a value that is negative or not finite")
        largest = float(values.max(initial=0.0))
        described[name] = {"shape": list(values.shape), "max": largest}
        share = np.divide(values, largest or 1.0, dtype=np.float64)
        levels.append(np.rint(LEVELS * np.sqrt(share)).astype(np.uint8).tobytes())
    deflate = zlib.compressobj(level=9, wbits=-15)  # raw, as the browser's "deflate-raw" reads it
    data = deflate.compress(b"".join(levels)) + deflate.flush()
    return {"arrays": described, "data": base64.b64encode(data).decode("ascii")}
