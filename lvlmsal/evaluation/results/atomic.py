"""Writing whole files: a reader, and a run that goes on, finds all of one or none of it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from lvlmsal.errors import LvlmsalError


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is either whole or not there.

    Half of a surrogate pair, which no encoding takes, becomes its escape.

    Raises:
        LvlmsalError: It cannot be written: the disk is full, or the folder read-only or gone.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        scratch.replace(path)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink()
        raise LvlmsalError(
            f"{path} cannot be written: {error.strerror}. Answers that were written before stay: "
            "fix this, then rerun the same command to resume"
        ) from error


def write_json(path: Path, content: object) -> None:
    """Write JSON that is either whole or not there."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")
