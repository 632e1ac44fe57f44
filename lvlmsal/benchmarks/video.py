"""What benchmarks on videos share: a video is shown as some of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.errors import DataError
from lvlmsal.files.frames import VIDEO_SUFFIXES, frame_files
from lvlmsal.metrics.prompts import OWN


@dataclass(eq=False, kw_only=True)
class VideoBenchmark(Benchmark):
    """A benchmark whose samples show uniformly chosen frames of a video, as so many images.

    Frames are files: ``root/frames/VIDEO/*.jpg``, one folder a video. ``lvlmsal data frames``
    writes them, and so does any other tool. `images` is the folder of these folders.

    Args:
        frames: How many frames stand for a video.
    """

    image_folders: ClassVar[tuple[str, ...]] = ("frames",)
    folder_prefixes: ClassVar[tuple[str, ...]] = ("",)
    """What may stand before the name of a video in the name of its folder."""

    frames: int = 8

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: No frame would be shown.
        """
        super().__post_init__()
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, got {self.frames}")

    def frame_paths(
        self, video: str, source: str, known: dict[str, tuple[Path, ...]]
    ) -> tuple[Path, ...]:
        """The frames that stand for a video.

        Args:
            video: Name of the video, with or without the suffix of its file.
            source: File and line that name it.
            known: Keeps what was found, by video: several questions share one.

        Raises:
            DataError: The video has no folder, or too few frames.
        """
        if video not in known:
            suffix = next((end for end in VIDEO_SUFFIXES if video.lower().endswith(end)), "")
            stem = video[: len(video) - len(suffix)]
            paths = [self.image_path(prefix + stem, source) for prefix in self.folder_prefixes]
            folder = next((path for path in paths if path.is_dir()), paths[0])
            try:
                known[video] = tuple(frame_files(folder, self.frames))
            except DataError as error:
                raise DataError(f"{source}: {error}") from error
        return known[video]

    def in_root(self, prompts: str) -> str:
        """A judge's prompt file or folder, relative to `root`; the own ones by their name."""
        return OWN if prompts == OWN else str(Path(self.root) / prompts)
