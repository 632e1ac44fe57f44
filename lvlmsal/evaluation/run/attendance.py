"""Which processes of a run are there: one small file each, which only an orderly end takes away."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

from lvlmsal.evaluation.results.atomic import write_text


class Attendance:
    """Tells, of processes that one launcher has started, which one was lost.

    A launcher such as torchrun ends all processes when one of them is gone, and tells none of them
    why. So each process leaves its number in the run folder and takes it away when it ends in
    order, after an error or a signal included. A number without a process is one that was killed.

    Args:
        folder: The run folder.
        rank: The number of this process among all of the run.
        processes: How many there are; a single one leaves no file.
    """

    def __init__(self, folder: Path, *, rank: int, processes: int) -> None:
        self._folder = folder
        self._rank = rank
        self._others = [other for other in range(processes) if other != rank]
        self._complete = False

    def enter(self) -> None:
        """Say that this process is there.

        Raises:
            LvlmsalError: The folder cannot be written.
        """
        if self._others:
            write_text(self._path(self._rank), f"{os.getpid()} {platform.node()}\n")

    def complete(self) -> None:
        """Note that all have come, so that nothing that is found stems from an earlier run."""
        self._complete = True

    def leave(self) -> None:
        """Take this process's file away."""
        if self._others:
            with suppress(OSError):  # the folder may be gone
                self._path(self._rank).unlink()

    def lost(self) -> dict[int, int]:
        """Numbers and ids of the processes on this machine that were killed."""
        found = {}
        for rank in self._others if self._complete else []:
            pid = self._pid(rank)
            # read again: one that ends in order takes its file away first
            if pid is not None and is_gone(pid) and self._pid(rank) == pid:
                found[rank] = pid
        return found

    def left(self) -> list[int]:
        """Numbers of the processes that have ended in order."""
        return [rank for rank in self._others if self._complete and not self._path(rank).exists()]

    def _path(self, rank: int) -> Path:
        return self._folder / f".process.{rank}"

    def _pid(self, rank: int) -> int | None:
        """Where a process of this machine is said to be."""
        try:
            pid, _, host = self._path(rank).read_text(encoding="utf-8").strip().partition(" ")
        except OSError:
            return None
        return int(pid) if host == platform.node() and pid.isdigit() else None


def is_gone(pid: int) -> bool:
    """Whether a process has ended, also one whose parent has not yet asked for its exit code."""
    if sys.platform == "win32":
        return False  # there, signal 0 is Ctrl+C
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False  # a system without /proc, or the process ends just now
    return state in ("Z", "X")
