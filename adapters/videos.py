"""The one way in for videos: frames that are given, or chosen from a file that is decoded."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from torch import Tensor

from lvlmsal.adapters.images import MAX_IMAGE_PIXELS, ImageLike, is_image, open_image
from lvlmsal.errors import DataError
from lvlmsal.readers.frames import frames_at, length_of, uniform_positions

NUM_FRAMES: Final = 8
"""Frames that are taken of a file where neither their number nor their rate is given."""


@dataclass(frozen=True)
class Clip:
    """The frames of a video that a model is shown.

    Attributes:
        frames: in RGB, all of one size, in the order of time.
        positions: of these frames among those of the video.
        total: how many frames the video has.
        fps: how many of its frames are of one second; None where nobody has said so.
    """

    frames: list[Image.Image]
    positions: list[int]
    total: int
    fps: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its frames."""
        return self.frames[0].size

    @property
    def rate(self) -> float | None:
        """How many of these frames are of one second; None where it is not known."""
        return None if self.fps is None else len(self.frames) / self.total * self.fps

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """All frames, shape (n, height, width, 3), 0 to 255."""
        return np.stack([np.asarray(frame) for frame in self.frames])

    @property
    def metadata(self) -> dict[str, Any]:
        """What processors of transformers take as ``video_metadata``."""
        width, height = self.size
        return {
            "total_num_frames": self.total,
            "fps": self.fps,
            "frames_indices": list(self.positions),
            "width": width,
            "height": height,
            "duration": None if self.fps is None else self.total / self.fps,
        }


class Video:
    """A video, wherever an image may stand: frames in the order of time, or a file.

    Args:
        source: The frames, in any of the forms of an image, or an array or a tensor of them
            (n, height, width, 3); or the path of a video file, which the extra ``video`` decodes
            when the video is first needed.
        fps: For frames, how many of them are of one second; models that are told the time of a
            frame need it. For a file, which knows its rate, how many are taken of each second.
        num_frames: How many are taken, uniformly; all where there are fewer. By default all of the
            frames that are given, and 8 of a file.

    Raises:
        DataError: There are no frames, or numbers that mean nothing.

    Example:
        >>> video = Video([Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")])
        >>> video, len(video.frames())
        (Video(3 frames), 3)
    """

    def __init__(
        self,
        source: Sequence[ImageLike] | np.ndarray[Any, Any] | Tensor | str | os.PathLike[str],
        *,
        fps: float | None = None,
        num_frames: int | None = None,
    ) -> None:
        self.fps, self.num_frames = fps, num_frames
        if num_frames is not None and num_frames < 1:
            raise DataError(f"num_frames of a video must be at least 1, got {num_frames}")
        if fps is not None and not (fps > 0 and math.isfinite(fps)):
            raise DataError(f"fps, the frames of a second, must be above 0, got {fps}")
        self.path: Path | None = None
        self.given: list[Any] = []
        if isinstance(source, str) and "://" in source:
            raise DataError(
                f"{source} is an address, and videos are not fetched from the network: download it "
                "and give the path of the file"
            )
        if isinstance(source, str | os.PathLike):
            self.path = Path(source)
            if fps is not None and num_frames is not None:
                raise DataError(
                    "both fps and num_frames were given for a video file, which has one number of "
                    "frames: give one of the two",
                    path=self.path,
                )
            return
        if isinstance(source, np.ndarray | Tensor) and source.ndim != 4:
            raise DataError(
                f"an array of shape {tuple(source.shape)} was given as a video; expected "
                "(frames, height, width, 3)"
            )
        if not isinstance(source, np.ndarray | Tensor) and is_image(source):
            raise DataError("one image was given as a video: give a list of frames, Video([image])")
        self.given = [*source]
        if not self.given:
            raise DataError("a video without frames was given: it must have at least one")

    def read(self, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Clip:
        """Decode and open the frames that a model is shown.

        Args:
            max_pixels: Refuse frames of more pixels.

        Raises:
            DataError: The file is no video or broken, a frame cannot be read, or frames differ in
                size.
            UnsupportedError: PyAV, which decodes files, is not installed.
        """
        if self.path is not None:
            return self._decoded(self.path, max_pixels)
        total = len(self.given)
        positions = uniform_positions(total, min(total, self.num_frames or total))
        frames = []
        for position in positions:
            try:
                frames.append(open_image(self.given[position], max_pixels=max_pixels))
            except DataError as error:
                if error.path is not None:
                    raise
                raise DataError(f"frame {position} of the video: {error.message}") from error
            if frames[-1].size != frames[0].size:
                (first, other), at = (frames[0].size, frames[-1].size), positions[0]
                raise DataError(
                    f"frames of a video have one size: frame {at} has {first[0]} x {first[1]} "
                    f"pixels and frame {position} {other[0]} x {other[1]}. Scale them first"
                )
        return Clip(frames, positions, total, self.fps)

    def frames(self, *, max_pixels: int = MAX_IMAGE_PIXELS) -> list[Image.Image]:
        """The frames as images, for models that take no videos; see :meth:`read`."""
        return self.read(max_pixels=max_pixels).frames

    def __repr__(self) -> str:
        what = f"{len(self.given)} frames" if self.path is None else repr(str(self.path))
        options = {"fps": self.fps, "num_frames": self.num_frames}
        given = [f"{name}={value}" for name, value in options.items() if value is not None]
        return f"Video({', '.join([what, *given])})"

    def _decoded(self, path: Path, max_pixels: int) -> Clip:
        total, rate = length_of(path)
        wanted = NUM_FRAMES if self.num_frames is None else self.num_frames
        if self.fps is not None:
            if rate is None:
                raise DataError(
                    "the file does not say how many of its frames are of one second, so fps means "
                    "nothing: give num_frames",
                    path=path,
                )
            wanted = max(1, round(total / rate * self.fps))
        positions = uniform_positions(total, min(wanted, total))
        frames = [open_image(frame, max_pixels=max_pixels) for frame in frames_at(path, positions)]
        return Clip(frames, positions, total, rate)


VisualLike = ImageLike | Video | Clip
"""What may stand where an image may: an image in any form, or a video."""

Opened = Image.Image | Clip
"""An image in RGB, or the frames of a video."""


def is_visual(given: object) -> bool:
    """Whether something is one image or one video."""
    return isinstance(given, Video | Clip) or is_image(given)


def open_visual(given: VisualLike, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Opened:
    """Read an image as :func:`~lvlmsal.adapters.images.open_image` does, or a video's frames."""
    if isinstance(given, Video):
        return given.read(max_pixels=max_pixels)
    return given if isinstance(given, Clip) else open_image(given, max_pixels=max_pixels)


def kinds_of(visuals: Sequence[object]) -> list[str]:
    """``"image"`` or ``"video"`` for each."""
    return ["video" if isinstance(one, Video | Clip) else "image" for one in visuals]


def images_among(visuals: Sequence[Opened]) -> list[Image.Image]:
    """Those that are no videos."""
    return [one for one in visuals if not isinstance(one, Clip)]


def clips_among(visuals: Sequence[Opened]) -> list[Clip]:
    """Those that are videos."""
    return [one for one in visuals if isinstance(one, Clip)]


def pictures_of(visuals: Sequence[Opened]) -> list[Image.Image]:
    """All pictures: images, and the frames of videos in their place."""
    return [p for one in visuals for p in (one.frames if isinstance(one, Clip) else [one])]
