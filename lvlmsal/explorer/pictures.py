"""Images of bounded size for the page."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

SIDE = 448
"""Longest side in pixels; the page shows an image at no more than that."""

LOSSLESS = 24_000
"""Largest PNG in bytes; what takes more becomes a JPEG."""


def encode_image(image: Image.Image) -> dict[str, Any]:
    """An image as a ``data:`` address with its size in pixels.

    Args:
        image: scaled down to 448 pixels where it is larger. Small ones are kept exactly, as PNG.

    >>> encode_image(Image.new("RGB", (900, 300)))["width"]
    448
    """
    picture = image.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    content, kind = io.BytesIO(), "png"
    picture.save(content, "png", optimize=True)
    if content.tell() > LOSSLESS:
        content, kind = io.BytesIO(), "jpeg"
        picture.save(content, "jpeg", quality=82, optimize=True)
    text = base64.b64encode(content.getvalue()).decode("ascii")
    return {
        "src": f"data:image/{kind};base64,{text}",
        "width": picture.width,
        "height": picture.height,
    }
