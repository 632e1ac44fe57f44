"""The one way in for images, whatever they are given as; what a model sees of them."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lvlmsal.adapters.arrays import array_size, from_array
from lvlmsal.adapters.modes import to_rgb
from lvlmsal.errors import DataError
from lvlmsal.readers.frames import VIDEO_SUFFIXES

ImageLike = (
    Image.Image
    | str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | np.ndarray[Any, Any]
    | Tensor
)
"""What an image may be given as: an image of Pillow, a path, an array or a tensor, the content of
an image file, or a file that is open for reading."""

MAX_IMAGE_PIXELS: Final = 100_000_000
"""Pixels of the largest image that is opened unless another limit is set. At this size the pixels
and what a processor makes of them take about 2 GB."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_BASE64 = re.compile(r"(?:.*/)?(?:data:image/|iVBORw0KGgo|/9j/|R0lGOD[dl]|UklGR)", re.DOTALL)
"""How PNG, JPEG, GIF and WebP files begin as base64 text, also behind the name of a folder."""

_LONGEST_SHOWN: Final = 200

_lock = threading.Lock()


def is_image(given: object) -> bool:
    """Whether something is one image, in any of the forms of :data:`ImageLike`."""
    if isinstance(given, str | os.PathLike | bytes | bytearray | memoryview):
        return True
    return isinstance(given, Image.Image | np.ndarray | Tensor) or hasattr(given, "read")


def open_image(given: ImageLike, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Image.Image:
    """Read an image in full, so that a broken one is found early.

    Args:
        given: An image of Pillow, the path of a file in any format that Pillow reads, the content
            of such a file as bytes, a file that is open for reading in binary mode, or an array or
            tensor as :func:`lvlmsal.adapters.arrays.from_array` takes it.
        max_pixels: Refuse images of more pixels (width times height).

    Returns:
        The image in RGB, turned as its camera noted (EXIF), composed on white where it is
        transparent; the first frame of several. An RGB image of Pillow that lies as it should is
        returned as it is.

    Raises:
        DataError: No such file, no image, one that is cut off or otherwise broken, one of too many
            pixels, or one whose values have no known range.

    Example:
        >>> open_image(np.full((2, 3), 65535, dtype=np.uint16)).getpixel((2, 1))
        (255, 255, 255)
    """
    if isinstance(given, Image.Image):
        return _read(given, max_pixels)
    if isinstance(given, np.ndarray | Tensor):
        _check_size(array_size(given), max_pixels)
        return from_array(given)
    if isinstance(given, bytes | bytearray | memoryview):
        return _decoded(io.BytesIO(given), max_pixels)
    if isinstance(given, str | os.PathLike) and not hasattr(given, "read"):
        path = _checked_path(given)
        try:
            with path.open("rb") as file:
                return _decoded(file, max_pixels)
        except DataError as error:
            film = path.suffix.lower() in set(VIDEO_SUFFIXES) - {".gif"}
            said = "this is a video, not an image: give lvlmsal.Video(path)" if film else ""
            raise DataError(said or error.message, path=path) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(f"the image cannot be read: {reason}", path=path) from error
    if hasattr(given, "read"):
        return _decoded(io.BytesIO(_content(given)), max_pixels)
    raise DataError(
        f"an image was given as {type(given).__name__}; expected a path, a Pillow image, an array, "
        "a tensor, bytes, or a file that is open in binary mode"
    )


def _checked_path(given: str | os.PathLike[str]) -> Path:
    """The path of a regular file.

    Raises:
        DataError: It is none; the message says what was given in its place.
    """
    text = os.fspath(given)
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:40]}... ({len(text):,} characters)"
    if isinstance(given, str) and _ADDRESS.match(text):
        raise DataError(
            f"{shown} is an address, and images are not fetched from the network: download it and "
            "give the path of the file, or its content as bytes"
        )
    path = Path(text)
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError) as error:
        if _BASE64.match(text):
            raise DataError(
                f"{shown} is an image as base64 text, not a path: give its bytes, "
                "base64.b64decode(text), or write them to a file"
            ) from error
        number = error.errno if isinstance(error, OSError) else None
        if _ADDRESS.match(text.replace(":/", "://", 1)):  # a Path has taken a slash out of it
            what = "this is an address, and images are not fetched: give a file or its bytes"
        elif number in (errno.ENOENT, errno.ENOTDIR):
            what = "there is no such image file"
        elif number == errno.ENAMETOOLONG:
            what = "the name is longer than names of files can be"
        else:
            what = f"no image can be read there: {getattr(error, 'strerror', None) or error}"
        if shown == text:
            raise DataError(what, path=path) from error
        raise DataError(f"{shown}: {what}") from error
    if stat.S_ISDIR(kind):
        raise DataError("this is a folder; expected an image file", path=path)
    if not stat.S_ISREG(kind):
        raise DataError(
            "this is a pipe, a socket or a device; expected a regular file. Write the image to "
            "one, or read it yourself and give its bytes",
            path=path,
        )
    return path


def _content(file: Any) -> bytes:
    """Everything in a file that is open, from its start where it can be rewound."""
    try:
        if hasattr(file, "seekable") and file.seekable():
            file.seek(0)
        content = file.read()
    except (OSError, ValueError) as error:
        raise DataError(f"the file of an image cannot be read: {error}") from error
    if not isinstance(content, bytes):
        raise DataError(
            f"reading the file of an image gave {type(content).__name__}, not bytes: open it in "
            "binary mode, open(path, 'rb')"
        )
    return content


def _decoded(file: IO[bytes], max_pixels: int) -> Image.Image:
    with _failures_named(), _without_limit_of_pillow():
        image = Image.open(file)
    with image:
        return _read(image, max_pixels)


def _read(image: Image.Image, max_pixels: int) -> Image.Image:
    _check_size(image.size, max_pixels)
    with _failures_named():
        return to_rgb(image)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Refuse an image without pixels or with too many."""
    width, height = size
    if width < 1 or height < 1:
        raise DataError(f"the image has {width} x {height} pixels, which is none at all")
    if width * height > max_pixels:
        raise DataError(
            f"the image has {width} x {height} = {width * height:,} pixels, and the limit is "
            f"{max_pixels:,}: scale it down, or raise the limit with max_image_pixels="
            f"{width * height} in lvlmsal.load or in the model's entry of a config"
        )


@contextmanager
def _failures_named() -> Iterator[None]:
    """Turn whatever Pillow raises for an image into one error."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            "this is not an image that Pillow can read: convert it to PNG or JPEG"
        ) from error
    # Pillow's decoders report broken data and variants that they do not know through errors of
    # any kind, NotImplementedError, struct.error, IndexError and KeyError among them.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"the image cannot be read: {reason}") from error


@contextmanager
def _without_limit_of_pillow() -> Iterator[None]:
    """Leave the limit to ours, which is checked before anything is decoded and can be set."""
    with _lock:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


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
