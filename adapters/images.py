"""Image files, opened in full so that a broken one is found before a model sees it."""

from __future__ import annotations

from pathlib import Path

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
