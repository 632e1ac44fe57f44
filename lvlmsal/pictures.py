"""Images of bounded size for pages and notebooks, and the digest that an image is known by."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any

from PIL import Image

SIDE = 448
"""Longest side in pixels; the page shows an image at no more than that."""

LOSSLESS = 24_000
"""Largest PNG in bytes; what takes more becomes a JPEG."""


def encode_image(
    image: Image.Image, side: int = SIDE, *, lossless: int = LOSSLESS, quality: int = 82
) -> dict[str, Any]:
    """An image as a ``data:`` address with its size in pixels.

    Args:
        image: small ones are kept exactly, as PNG.
        side: the longest one in pixels; an image that is larger is scaled down.
        lossless: largest PNG in bytes; 0 makes a JPEG of every image.
        quality: of a JPEG.

    >>> encode_image(Image.new("RGB", (900, 300)))["width"]
    448
    >>> encode_image(Image.new("RGB", (9, 3)), lossless=0)["src"].partition(";")[0]
    'data:image/jpeg'
    """
    picture = image.convert("RGB")
    picture.thumbnail((side, side))
    content, kind = io.BytesIO(), "png"
    if lossless:
        picture.save(content, "png", optimize=True)
    if not lossless or content.tell() > lossless:
        content, kind = io.BytesIO(), "jpeg"
        picture.save(content, "jpeg", quality=quality, optimize=True)
    text = base64.b64encode(content.getvalue()).decode("ascii")
    return {
        "src": f"data:image/{kind};base64,{text}",
        "width": picture.width,
        "height": picture.height,
    }


def digest_of(picture: Image.Image) -> str:
    """The sha256 of an image's size and pixels, whatever file it came from, in hexadecimal.

    Args:
        picture: in RGB.

    >>> digest_of(Image.new("RGB", (2, 1))) == digest_of(Image.new("RGB", (1, 2)))
    False
    """
    content = hashlib.sha256(f"{picture.mode} {picture.width} {picture.height} ".encode())
    content.update(picture.tobytes())
    return content.hexdigest()
