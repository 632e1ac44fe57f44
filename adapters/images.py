"""Image files, opened in full so that a broken one is found early; what a model sees of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from lvlmsal.errors import DataError


def open_image(path: str | Path) -> Image.Image:
    """Read an image file.

    Args:
        path: A file in any format that Pillow reads.

    Returns:
        The image in RGB, turned as its camera noted, and read in full.

    Raises:
        DataError: No such file, no image, or one that is cut off or otherwise broken.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError as error:
        raise DataError("there is no such image file", path=path) from error
    except UnidentifiedImageError as error:
        raise DataError("this is no image that Pillow can read", path=path) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"refused to open the image: {error}", path=path) from error
    # Pillow's decoders report broken data through any of these.
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"the image cannot be read: {error}", path=path) from error


def seen_part(image: Image.Image, image_processor: Any) -> Image.Image:
    """The part of an image that its patches come from: some processors cut off the margins.

    Args:
        image: The whole image.
        image_processor: A transformers image processor; its ``do_center_crop``, ``size`` and
            ``crop_size`` are read.

    Returns:
        The image itself where nothing is cut off, as in all families but those on CLIP's processor.

    Example:
        >>> from types import SimpleNamespace
        >>> square = {"height": 336, "width": 336}
        >>> edge = {"shortest_edge": 336}
        >>> clip = SimpleNamespace(do_center_crop=True, size=edge, crop_size=square)
        >>> seen_part(Image.new("RGB", (640, 480)), clip).size
        (480, 480)
    """
    if not getattr(image_processor, "do_center_crop", False):
        return image
    size, crop = dict(image_processor.size), dict(image_processor.crop_size)
    shortest = size.get("shortest_edge")
    if shortest:
        scale = (shortest / min(image.size),) * 2
    else:
        scale = (size["width"] / image.width, size["height"] / image.height)
    width = min(image.width, crop["width"] / scale[0])
    height = min(image.height, crop["height"] / scale[1])
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (round(left), round(top), round(left + width), round(top + height))
    return image if box == (0, 0, *image.size) else image.crop(box)
