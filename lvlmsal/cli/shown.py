"""The picture or video that a command shows to a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lvlmsal.adapters.videos import Video

ImageFile = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="Image file, or a video.", exists=True)
]


def shown_file(path: Path) -> Path | Video:
    """An image after a look at it, which takes no time; a video, known by its suffix, unread.

    A GIF is an image, of which its first frame is shown.

    Raises:
        LvlmsalError: The image cannot be read.
    """
    from lvlmsal.adapters.images import open_image
    from lvlmsal.adapters.videos import Video
    from lvlmsal.readers.frames import VIDEO_SUFFIXES

    if path.suffix.lower() in set(VIDEO_SUFFIXES) - {".gif"}:
        return Video(path)
    open_image(path)
    return path
