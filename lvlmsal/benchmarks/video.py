"""What benchmarks on videos share: of a video some frames are shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.errors import DataError
from lvlmsal.readers.frames import VIDEO_SUFFIXES, frame_files


@dataclass(eq=False, kw_only=True)
class VideoBenchmark(Benchmark):
    """A benchmark whose samples show uniformly chosen frames of a video.

    Frames are files: ``root/frames/VIDEO/*.jpg``, one folder a video. ``lvlmsal data frames``
    writes them, and so does any other tool. `images` is the folder of these folders.

    Args:
        frames: How many frames stand for a video.
        show: As so many ``images``, or as one ``video`` to models that take videos.
        fps: With ``show="video"``, how many of the frames in a folder are of one second, for models
            that are told times.
    """

    image_folders: ClassVar[tuple[str, ...]] = ("frames",)
    folder_prefixes: ClassVar[tuple[str, ...]] = ("",)
    """What may stand before the name of a video in the name of its folder."""

    frames: int = 8
    show: Literal["images", "video"] = "images"
    fps: float | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: No frame would be shown, or the rate means nothing.
        """
        super().__post_init__()
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, got {self.frames}")
        if self.fps is not None and self.show != "video":
            raise ValueError("fps is for show='video'; frames that are images have no times")
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps must be above 0, got {self.fps}")

    @property
    def shown_as(self) -> dict[str, Any]:
        """What samples say about how their frames are shown."""
        return {"is_video": self.show == "video", "fps": self.fps}

    def frame_paths(
        self,
        video: str,
        source: str,
        known: dict[str, tuple[Path, ...]],
        problems: list[str],
    ) -> tuple[Path, ...]:
        """The frames that stand for a video; none if it has no folder or too few of them.

        Args:
            video: Name of the video, with or without the suffix of its file.
            source: File and line that name it.
            known: Keeps what was found, by video: several questions share one.
            problems: Takes one text for each video without frames, however many ask about it.
        """
        if video not in known:
            suffix = next((end for end in VIDEO_SUFFIXES if video.lower().endswith(end)), "")
            stem = video[: len(video) - len(suffix)]
            known[video] = ()
            try:
                paths = [self.image_path(prefix + stem, source) for prefix in self.folder_prefixes]
                folder = next((path for path in paths if path.is_dir()), paths[0])
            except DataError as error:
                problems.append(str(error))
                return ()
            try:
                known[video] = tuple(frame_files(folder, self.frames))
            except DataError as error:
                problems.append(f"{source}: {error}")
        return known[video]
