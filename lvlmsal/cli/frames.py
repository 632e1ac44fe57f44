"""``lvlmsal data frames``: frames of videos, as the video benchmarks read them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvlmsal.cli.commands import whole_number

FAILED = 1
"""Exit code where a video could not be decoded."""


def frames(
    videos: Annotated[Path, typer.Argument(metavar="VIDEOS", help="Folder of video files.")],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Folder that gets a subfolder for each video.")
    ],
    count: Annotated[
        int,
        typer.Option("--frames", parser=whole_number(1), metavar="N", help="Frames of each video."),
    ] = 8,
) -> None:
    """Write uniformly chosen frames of every video, one folder per video (needs PyAV).

    Existing folders are kept: rerun the same command to resume an extraction that was stopped.
    """
    from lvlmsal.cli.console import say
    from lvlmsal.errors import DataError
    from lvlmsal.progress import track
    from lvlmsal.readers.frames import extract_frames, video_files

    failures = []
    found = video_files(videos)
    done = 0
    for name, path in track(found.items(), "videos"):
        folder = output / name
        if folder.is_dir() and any(folder.iterdir()):
            continue
        try:
            written = extract_frames(path, folder, count)
        except DataError as error:
            failures.append(str(error))
            say(str(error))
            continue
        done += 1
        if len(written) < count:
            say(f"{path}: has only {len(written)} frames")
    kept = len(found) - done - len(failures)
    say(f"{done} videos extracted, {kept} were there already, {len(failures)} failed: {output}")
    if failures:
        raise SystemExit(FAILED)
