"""Digests of pixels, by which an image is known again under another name or in another format."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from lvlmsal.errors import DataError
from lvlmsal.readers.digests import file_digest


def pixel_digest(path: Path) -> str:
    """SHA-256 of an image's size and its pixels as RGB; of the file where it is no picture.

    Raises:
        DataError: there is no such file.
    """
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        size = f"{picture.width}x{picture.height} ".encode()
        return hashlib.sha256(size + picture.tobytes()).hexdigest()
    except UnidentifiedImageError:
        return file_digest(path)  # a video
    except OSError as error:
        raise DataError(f"cannot be read: {error}", path=path) from error
