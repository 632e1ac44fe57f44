"""The processes of one run: none waits for one that is gone, and none outlives the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from lightning.pytorch import Callback, LightningModule, Trainer

from lvlmsal.errors import LvlmsalError
from lvlmsal.escaping import visible

INTERVAL = 0.5
"""Seconds between two looks at the other processes."""

PATIENCE = 10.0
"""Seconds that a process has to end by itself before it is killed."""

_launchers: list[Any] = []
# for the life of the process: Lightning starts the others once, also for several runs


class Watch(threading.Thread):
    """Ends a run in all its processes if it ends in one of them.

    Lightning kills the first process without a word some seconds after another one has failed, and
    leaves the others alone if the first one is killed. With this, the first process says which one
    was lost and ends like after any other error; the others end when the first one is gone.

    Args:
        first: Whether this is the first process of the run.

    Raises:
        LvlmsalError: On leaving, if another process was lost.
    """

    def __init__(self, *, first: bool) -> None:
        super().__init__(daemon=True, name="lvlmsal-watch")
        self._first = first
        self._parent = os.getppid()
        self._over = threading.Event()
        self._lost = ""

    def follow(self, trainer: Trainer) -> None:
        """Watch the processes that a trainer is going to start."""
        launcher = trainer.strategy.launcher
        if launcher is not None and not _launchers:
            _launchers.append(launcher)

    def run(self) -> None:
        """Look after the others until the run is over."""
        while not self._over.wait(INTERVAL):
            self._lost = self._missing()
            if self._lost:
                break
        if not self._lost:
            return
        # Python code in the main thread ends like after SIGTERM; a call into a communication
        # library may never come back
        if callable(signal.getsignal(signal.SIGTERM)):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        if not self._over.wait(PATIENCE):
            if self._first:
                print(visible(f"error: {self._lost}", keep="\n"), file=sys.stderr, flush=True)
                end_others()
            os._exit(1)

    def __enter__(self) -> Self:
        """Start watching."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching; after an error end the others too."""
        cut = isinstance(error, RuntimeError) and _is_cut_off(error)
        if cut and not self._lost:
            # the connection is known to be gone before the process is
            deadline = time.monotonic() + 4 * INTERVAL
            while not self._lost and time.monotonic() < deadline:
                time.sleep(INTERVAL / 5)
                self._lost = self._missing()
        self._over.set()
        if error is None:
            return
        if self._first:
            end_others()
        if self._lost and not self._first:
            raise SystemExit(128 + signal.SIGTERM) from None
        if self._lost or cut:
            raise LvlmsalError(
                f"{self._lost or 'the connection to another process was lost'}; what all of them "
                "have answered is kept, and the same command goes on from there"
            ) from None

    def _missing(self) -> str:
        """Which process is gone that should be there."""
        if not self._first:
            return "" if os.getppid() == self._parent else "the first process is gone"
        for rank, process in enumerate(_others(), start=1):
            code = process.poll()
            if code:
                how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                return f"process {rank} of the run (pid {process.pid}) {how}"
        return ""


class KeepSignals(Callback):
    """Leaves SIGTERM as it was before the trainer began.

    Lightning notes SIGTERM for a training loop, which looks at the note between its steps;
    answering has no such loop, so that the signal would come to nothing.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take Lightning's handler away."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)


def end_others() -> None:
    """End the processes that were started beside this one; kill those that do not."""
    others = _others()
    for launcher in _launchers:
        # Lightning watches this list, and kills this process when one in it has failed
        launcher.procs.clear()
    for process in others:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + PATIENCE / 2
    for process in others:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _others() -> list[subprocess.Popen[bytes]]:
    return [process for launcher in _launchers for process in getattr(launcher, "procs", [])]


def _is_cut_off(error: RuntimeError) -> bool:
    """Whether an error says that a process at the other end of a connection is gone."""
    text = str(error).lower()
    return any(words in text for words in ("closed by peer", "reset by peer", "broken pipe"))
