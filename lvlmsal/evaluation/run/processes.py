"""The processes of one run: none waits for one that is gone, and none outlives the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer

from lvlmsal.errors import ProcessLost
from lvlmsal.escaping import visible
from lvlmsal.evaluation.run.attendance import Attendance
from lvlmsal.evaluation.run.guards import ignore_sigterm

INTERVAL = 0.5
"""Seconds between two looks at the other processes."""

PATIENCE = 10.0
"""Seconds that a process has to end by itself before it is killed."""

USER_ERROR = 2
"""Exit code after an error that the user is told of, as the command line has it."""

_started: list[subprocess.Popen[bytes]] = []
# for the life of the process: Lightning starts the others once, also for several runs


class Watch(threading.Thread):
    """Ends a run in all its processes if it ends in one of them, and says which one was lost.

    Lightning kills the first process without a word some seconds after another one has failed, and
    leaves the others alone if the first one is killed; torchrun ends all others with SIGTERM, which
    looks like a stop. With this, the first process that is left says which one was lost and ends
    like after any other error.

    Args:
        folder: The run folder, which all processes see.
        rank: The number of this process among all of the run; 0 is the first.
        processes: How many there are.

    Raises:
        ProcessLost: On leaving, if another process was lost.
    """

    def __init__(self, folder: Path, *, rank: int, processes: int) -> None:
        super().__init__(daemon=True, name="lvlmsal-watch")
        self._rank = rank
        self._attendance = Attendance(folder, rank=rank, processes=processes)
        self._parent = os.getppid()
        self._launcher = "torchrun" if TorchElasticEnvironment.detect() else ""
        self._over = threading.Event()
        self._deciding = threading.Lock()
        self._lost = ""
        self._told = False

    def follow(self, trainer: Trainer) -> None:
        """Watch the processes that a trainer is going to start, in place of Lightning."""
        launcher: Any = trainer.strategy.launcher
        if launcher is None:
            return
        start = launcher._call_children_scripts

        def start_and_take() -> None:
            start()
            # an observer of Lightning's is given this list next, and kills this process when one in
            # it has failed; it ends where there are none
            _started.extend(launcher.procs)
            launcher.procs = []

        launcher._call_children_scripts = start_and_take

    def complete(self) -> None:
        """Note that all processes have come together."""
        self._attendance.complete()

    def run(self) -> None:
        """Look after the others until the run is over."""
        while not self._over.wait(INTERVAL):
            with self._deciding:
                if self._over.is_set():
                    return
                self._find_lost(stopped=False)
                if self._lost:
                    # Python code in the main thread ends like after SIGTERM; a call into a
                    # communication library may never come back
                    if callable(signal.getsignal(signal.SIGTERM)):
                        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                    break
        if self._lost and not self._over.wait(PATIENCE):
            if not self._told:
                print(visible(f"error: {self._lost}", keep="\n"), file=sys.stderr, flush=True)
            end_others()
            os._exit(USER_ERROR)

    def __enter__(self) -> Self:
        """Start watching."""
        self._attendance.enter()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching; after an error end the others too."""
        try:
            self._close(error)
        except SystemExit as stop:
            # SIGTERM from the thread or from a launcher; `ends_on_sigterm` lets one through
            self._close(stop)
            if not self._lost:
                raise
        if self._lost:
            raise ProcessLost(self._lost, told=self._told) from None

    def _close(self, error: BaseException | None) -> None:
        """Find out whether another process was lost, and let nothing come between from then on."""
        with self._deciding:
            if not self._over.is_set():
                if isinstance(error, RuntimeError) and _is_cut_off(error):
                    self._wait_for_lost()
                elif isinstance(error, SystemExit) and not self._lost:
                    self._find_lost(stopped=True)
            self._over.set()
        if self._lost:
            # a launcher is about to send it to this process as well, and the message comes first
            ignore_sigterm()
        if error is not None:
            end_others()
        self._attendance.leave()

    def _wait_for_lost(self) -> None:
        """Find out whose connection is gone; that is known before the process is."""
        deadline = time.monotonic() + PATIENCE
        while not self._lost and time.monotonic() < deadline:
            self._find_lost(stopped=False)
            left = [] if _started else self._attendance.left()
            if left and not self._lost:
                self._told = left[0] < self._rank
                self._lost = f"process {left[0]} of the run has ended; {_KEPT}"
            time.sleep(INTERVAL / 10)
        self._lost = self._lost or f"the connection to another process was lost; {_KEPT}"

    def _find_lost(self, *, stopped: bool) -> None:
        """Note which process is gone that should be there.

        Args:
            stopped: Whether this process was told to end, as others may have been.
        """
        own = range(self._rank + 1, self._rank + 1 + len(_started))  # whose exit codes are known
        lost = {
            rank: f"(pid {pid}) is gone"
            for rank, pid in self._attendance.lost().items()
            if rank not in own
        }
        followed: dict[int, str] = {}
        for rank, process in zip(own, list(_started), strict=False):
            code = process.poll()
            if code and not (stopped and code in _STOPPED):
                how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                # that code is also how a process ends because another one was lost
                (followed if code == USER_ERROR else lost)[rank] = f"(pid {process.pid}) {how}"
        lost = lost or followed
        said = [
            f"{f'process {rank}' if rank else 'the first process'} of the run {how}"
            for rank, how in sorted(lost.items())
        ]
        self._told = any(rank not in lost for rank in range(self._rank))
        if not said and not stopped and os.getppid() != self._parent:
            if self._launcher:
                said, self._told = [f"{self._launcher} is gone"], self._rank > 0
            elif self._rank:
                said, self._told = ["the first process of the run is gone"], self._rank > 1
        if said:
            self._lost = f"{', and '.join(said)}; {_KEPT}"


_KEPT = "what all of them have answered is kept, and the same command goes on from there"
_STOPPED = (-signal.SIGTERM, 128 + signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGINT)


class KeepSignals(Callback):
    """Leaves SIGTERM as it was before the trainer began.

    Lightning notes SIGTERM for a training loop, which looks at the note between its steps;
    answering has no such loop, so that the signal would come to nothing.

    Args:
        watch: Told when all processes have come together.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take Lightning's handler away."""
        self._watch.complete()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)


def end_others() -> None:
    """End the processes that were started next to this one; kill those that do not."""
    for process in _started:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + PATIENCE / 2
    for process in _started:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    _started.clear()


def _is_cut_off(error: RuntimeError) -> bool:
    """Whether an error says that a process at the other end of a connection is gone."""
    text = str(error).lower()
    return any(words in text for words in ("closed by peer", "reset by peer", "broken pipe"))
