"""Frames of videos: which ones stand for a video, and how they get onto the disk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlmsal.errors import DataError, UnsupportedError

if TYPE_CHECKING:
    from PIL import Image

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif")


def uniform_positions(total: int, count: int) -> list[int]:
    """Positions of `count` frames among `total`: the middle of as many parts of equal length.

    Args:
        total: How many frames there are.
        count: How many are wanted, at most `total`.

    Returns:
        Ascending positions from 0, all different.

    Raises:
        ValueError: More frames are wanted than there are, or none.

    Example:
        >>> uniform_positions(10, 2), uniform_positions(3, 3), uniform_positions(7, 1)
        ([2, 7], [0, 1, 2], [3])
    """
    if not 1 <= count <= total:
        raise ValueError(f"cannot take {count} of {total} frames")
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]


def frame_files(folder: Path, count: int) -> list[Path]:
    """Uniformly chosen frames of a video, from a folder with one image file per frame.

    Files are put in order by the numbers in their names, so ``frame_10`` comes after ``frame_2``.

    Args:
        folder: The frames of one video.
        count: How many are wanted.

    Returns:
        The files, in order of time.

    Raises:
        DataError: There is no such folder, or it holds fewer frames than are wanted.
    """
    files = all_frame_files(folder)
    if len(files) < count:
        raise DataError(
            f"holds {len(files)} frames, and {count} are needed: extract more, or set "
            f"frames={max(1, len(files))}",
            path=folder,
        )
    return [files[position] for position in uniform_positions(len(files), count)]


def all_frame_files(folder: Path) -> list[Path]:
    """All frames of a video, in the order of time; see :func:`frame_files`.

    Raises:
        DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataError(
            "there is no folder with the frames of this video; "
            "`lvlmsal data frames VIDEOS FRAMES` writes one for each video",
            path=folder,
        )
    files = (path for path in folder.iterdir() if path.suffix.lower() in FRAME_SUFFIXES)
    return sorted(files, key=_by_number)


def extract_frames(video: Path, folder: Path, count: int) -> list[Path]:
    """Decode a video and write uniformly chosen frames as ``folder/0001.png`` and so on.

    The video is decoded twice, first to count its frames: what files say of their own length is
    often wrong. A video of fewer than `count` frames gives all it has. Needs the extra ``video``.

    Args:
        video: A video file.
        folder: Where to write; made if it is not there. Frames that lie there already are an
            error, since old and new ones would be taken for one video.
        count: How many frames are wanted.

    Returns:
        The files, in order of time.

    Raises:
        DataError: The file is not a video, holds no frame or breaks off, or the folder has frames.
        UnsupportedError: PyAV is not installed.
    """
    if count < 1:
        raise ValueError(f"the number of frames must be at least 1, got {count}")
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError("is not empty: delete it, or choose another folder", path=folder)
    total, _ = length_of(video)
    wanted = uniform_positions(total, min(count, total))
    # the folder appears when it is whole, so that a stopped extraction can be begun again
    scratch = folder.with_name(f".{folder.name}.part")
    scratch.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames_at(video, wanted), start=1):
        frame.save(scratch / f"{number:04}.png")
    if folder.is_dir():
        folder.rmdir()
    scratch.rename(folder)
    return sorted(folder.iterdir())


def length_of(video: Path) -> tuple[int, float | None]:
    """How many frames a video has, which are decoded to be counted, and how many a second.

    Raises:
        DataError: The file is not a video, holds no frame or breaks off.
        UnsupportedError: PyAV is not installed.
    """
    with _decoding(video) as stream:
        rate = stream.average_rate
        total = sum(1 for _ in stream.container.decode(stream))
    if total == 0:
        raise DataError("the video holds no frame", path=video)
    return total, float(rate) if rate else None


def frames_at(video: Path, positions: Sequence[int]) -> Iterator[Image.Image]:
    """Frames of a video at ascending positions, one after the other.

    Raises:
        DataError: The file is not a video or breaks off.
        UnsupportedError: PyAV is not installed.
    """
    wanted = set(positions)
    with _decoding(video) as stream:
        for position, frame in enumerate(stream.container.decode(stream)):
            if position in wanted:
                yield frame.to_image()
            if position == positions[-1]:
                break


def video_files(folder: Path) -> dict[str, Path]:
    """The video files of a folder by their name without suffix, in order.

    Raises:
        DataError: There is no such folder, it holds no video, or two files share a name.
    """
    if not folder.is_dir():
        raise DataError("there is no such folder", path=folder)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            continue
        if path.stem in found:
            raise DataError(
                f"holds {found[path.stem].name} and {path.name}, whose frames would go into one "
                "folder: keep one of the two",
                path=folder,
            )
        found[path.stem] = path
    if not found:
        raise DataError(f"holds no video ({', '.join(VIDEO_SUFFIXES)})", path=folder)
    return found


@contextmanager
def _decoding(video: Path) -> Iterator[Any]:
    """The stream of pictures of a video file."""
    if video.is_dir():
        raise DataError(
            "cannot be decoded: this is a folder; of frames give the files, in order", path=video
        )
    if not video.is_file():
        raise DataError("cannot be decoded: there is no such file", path=video)
    av = _av()
    try:
        with av.open(str(video)) as container:
            if not container.streams.video:
                raise DataError("the file holds no video", path=video)
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield stream
    except av.error.FFmpegError as error:
        raise DataError(f"cannot be decoded: {error}", path=video) from error


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise UnsupportedError(
            "decoding videos needs PyAV: pip install 'lvlmsal[video]', or extract the frames with "
            "another tool, one folder of images for each video, and give them as Video([...])"
        ) from error
    return av


def _by_number(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Order of names in which digits count as numbers."""
    parts = re.findall(r"\d+|\D+", path.stem)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name
