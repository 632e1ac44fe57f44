"""Locks that keep two processes from writing to one place."""

from __future__ import annotations

import errno
import logging
import os
import platform
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from lvlmsal.errors import LvlmsalError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

logger = logging.getLogger(__name__)

# Not filelock: it locks files of its own only, not an open records file; where a file system has no
# flock, it falls back to a file that a killed process leaves behind.


def lock(file: IO[Any], path: Path) -> None:
    """Lock an open file until it is closed or the process ends, however it ends.

    Raises:
        LvlmsalError: Another process has locked it.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            logger.warning(
                "%s cannot be locked (%s): see to it that no second process writes there",
                path,
                error.strerror,
            )
            return
        raise LvlmsalError(f"another process has locked {path}") from None


class RunLock:
    """Keeps two processes from writing into one run folder; freed when the process ends.

    The system frees it, also after ``kill -9``, so the file ``.lock`` may stay and means nothing by
    itself; it says who holds or held the lock, for the message. On a network file system other
    hosts see the lock only if that file system passes locks on.

    Args:
        folder: The run folder.

    Raises:
        LvlmsalError: On entering, if another process holds the lock or the folder is read-only.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        """Take the lock."""
        try:
            file = self._path.open("a+", encoding="utf-8")
        except OSError as error:
            raise LvlmsalError(f"{self._path} cannot be written: {error.strerror}") from error
        try:
            lock(file, self._path)
        except LvlmsalError:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            who = f" ({holder})" if holder else ""
            raise LvlmsalError(
                f"another process{who} is writing to {self._path.parent}: wait for it, stop it, "
                "or choose another folder with output=..."
            ) from None
        self._file = file
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n")
            file.flush()
        except OSError as error:
            raise LvlmsalError(f"{self._path} cannot be written: {error.strerror}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the lock."""
        assert self._file is not None  # __enter__ has set it
        self._file.close()
