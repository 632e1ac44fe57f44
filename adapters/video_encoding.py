"""What an adapter says about videos, and how they reach the processor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from PIL import Image

from lvlmsal.adapters.images import seen_part
from lvlmsal.adapters.videos import Clip
from lvlmsal.errors import DataError, UnsupportedError

AS_IMAGES: Final = -1
"""Id of the visual tokens of videos that are written as those of images, among marks or words."""


class VideoEncoding:
    """How a family takes videos; by default it takes none."""

    processor: Any

    takes_videos: ClassVar[bool] = False
    """Whether videos are done right, which the processor has a part of its own for."""

    tells_time: ClassVar[bool] = False
    """Whether the model is told when each frame of a video was, so that `fps` must be known."""

    video_inputs: ClassVar[tuple[str, ...]] = ()
    """Inputs other than pixels and sizes with an entry for each video."""

    videos_alone: ClassVar[bool] = False
    """Whether the model takes videos only where there are no images in the batch."""

    one_video: ClassVar[bool] = False
    """Whether a sample has one video at most."""

    stacks_videos: ClassVar[bool] = False
    """Whether the pixels of all videos of a batch are one array, frame by frame."""

    video_ends: ClassVar[int] = 0
    """Visual tokens behind the last frame of a video, which are of no frame."""

    @abstractmethod
    def require_processor(self) -> Any:
        """See `lvlmsal.adapters.encoding.Encoding`."""

    @property
    def video_mark(self) -> str | None:
        """What stands for a video in the text that the processor is given, if anything does."""
        return getattr(self.require_processor(), "video_token", None)

    def check_videos(self) -> None:
        """Refuse videos where they are not done right.

        Raises:
            UnsupportedError: The family takes none, or the processor has no part for them.
        """
        if not self.takes_videos:
            raise UnsupportedError(
                f"{type(self).__name__} takes no videos: give their frames as images, "
                "video.frames(), and say in the question that they are frames of one video"
            )
        if getattr(self.require_processor(), "video_processor", None) is None:
            raise UnsupportedError(
                f"{type(self.processor).__name__} has no part for videos, which transformers "
                "builds only with torchvision: `pip install torchvision` in the version that "
                "belongs to your torch, and load the model again"
            )

    def video_arguments(self, clips: Sequence[Clip]) -> dict[str, Any]:
        """What the processor is given for videos, whose frames are chosen already.

        Args:
            clips: All of a batch; nothing is given where there are none.

        Raises:
            DataError: The model is told the time of frames, and it is not known; or videos have
                different numbers of frames, and the family stacks them.
        """
        if not clips:
            return {}
        if self.tells_time and any(clip.fps is None for clip in clips):
            raise DataError(
                "this model is told when each frame of a video was: give the frames of one second, "
                "Video(frames, fps=...)"
            )
        counts = sorted({len(clip.frames) for clip in clips})
        if self.stacks_videos and len(counts) > 1:
            raise DataError(
                f"this model takes videos of as many frames together, and these have "
                f"{' and '.join(map(str, counts))} frames: choose one number with "
                "Video(..., num_frames=...), or ask about one video at a time"
            )
        return {
            "videos": [clip.array for clip in clips],
            "video_metadata": [clip.metadata for clip in clips],
            "do_sample_frames": False,
        }

    def seen_frame(self, frame: Image.Image) -> Image.Image:
        """The same for a frame of a video."""
        return seen_part(frame, self.require_processor().video_processor)
