"""How the images of a question may be given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from lvlmsal.adapters import open_image

ImageLike = Image.Image | str | os.PathLike[str]
Images = ImageLike | Sequence[ImageLike] | None
"""The image or images of one question; ``None`` for a question without any."""


def opened(images: Images) -> list[Image.Image]:
    """The images of one question, read where paths were given.

    Raises:
        DataError: a file is missing or is no image.

    >>> opened(None)
    []
    """
    if images is None:
        return []
    entries = [images] if isinstance(images, Image.Image | str | os.PathLike) else list(images)
    return [
        entry if isinstance(entry, Image.Image) else open_image(Path(entry)) for entry in entries
    ]
