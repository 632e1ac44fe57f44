"""What surrounds a run: quiet libraries, a log file, and signals that end it."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol

from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from transformers.utils.logging import (
    disable_progress_bar,
    enable_progress_bar,
    is_progress_bar_enabled,
)

from lvlmsal.errors import LvlmsalError, ProcessLost
from lvlmsal.escaping import visible
from lvlmsal.secrets import hide

_TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM."""


class Interruptible(Protocol):
    """Something that has noted whether Ctrl+C was pressed."""

    interrupted: bool


@contextmanager
def no_loading_bar() -> Iterator[None]:
    """Keep transformers' bar out of ours, which says what is being loaded."""
    shown = is_progress_bar_enabled()
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    try:
        yield
    finally:
        if shown:
            enable_progress_bar()  # type: ignore[no-untyped-call]  # likewise


@contextmanager
def interrupts(callback: Interruptible) -> Iterator[None]:
    """Turn Lightning's exit after Ctrl+C back into the KeyboardInterrupt that it was.

    Raises:
        LvlmsalError: Something else wanted to end Python: a plugin, or what it calls.
    """
    try:
        yield
    except SystemExit as end:
        if callback.interrupted:
            raise KeyboardInterrupt from None
        # ours on SIGTERM, and Lightning's own kinds
        if end.code == _TERMINATED or type(end) is not SystemExit:
            raise
        raise LvlmsalError(
            f"a model, method or plugin of this run called sys.exit({end.code!r}): have it raise "
            "an error that says what is wrong. Answers that were written before stay"
        ) from end


@contextmanager
def disk_errors() -> Iterator[None]:
    """Say which file could not be read or written, in place of a traceback.

    Where that file is a log that was to be closed after another error, that error is told.
    """
    try:
        yield
    except OSError as error:
        earlier: BaseException | None = error
        while earlier is not None and not isinstance(earlier, LvlmsalError):
            earlier = earlier.__context__
        if earlier is not None:
            raise earlier from None
        raise LvlmsalError(
            f"{error.filename or 'a file of the run'}: {error.strerror or error}\nAnswers that "
            "were written before stay: fix this, then rerun the same command to resume"
        ) from error


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """End on SIGTERM as on Ctrl+C: files are closed, locks freed, and the exit code is 143.

    A handler that the caller has installed stays in its place. After the loss of another process,
    one that torchrun has started ignores SIGTERM for good: torchrun ends all of them, which must
    not come before the message.
    """
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    _received.clear()
    signal.signal(signal.SIGTERM, _end)
    after: signal.Handlers = signal.SIG_DFL
    try:
        yield
    except ProcessLost:
        if TorchElasticEnvironment.detect():
            after = signal.SIG_IGN
        raise
    except Exception:
        # libraries clean up after an exit in their middle, fail at that, and raise another error
        if _received:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, after)


def ignore_sigterm() -> None:
    """Ignore SIGTERM from now on, where `ends_on_sigterm` would end this process."""
    if signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


_received: list[int] = []


def _end(number: int, frame: FrameType | None) -> NoReturn:
    # once is enough: a second one must not disturb what the first one has begun
    signal.signal(number, signal.SIG_IGN)
    _received.append(number)
    raise SystemExit(_TERMINATED)


class _LogFile(logging.FileHandler):
    """A log that may fail, on a full disk, without a traceback for every line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without what the config takes from the environment, and without codes."""
        return visible(hide(super().format(record)), keep="\n\t")

    def handleError(self, record: logging.LogRecord) -> None:  # the name is logging's
        """Say once that the log is not written."""
        self.handleError = lambda record: None  # type: ignore[method-assign]  # from now on
        print(f"the log is not written: {sys.exc_info()[1]}", file=sys.stderr)

    def close(self) -> None:
        """Close the file, also one whose last lines do not go onto the disk."""
        try:
            super().close()
        except OSError:
            self.handleError(logging.makeLogRecord({}))


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append what the library and Lightning log, and every warning, to a file."""
    try:
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise LvlmsalError(f"{path} cannot be written: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(n) for n in ("lvlmsal", "lightning.pytorch", "py.warnings")]
    root = loggers[0]
    level = root.level
    root.setLevel(logging.INFO)
    for found in loggers:
        found.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for found in loggers:
            found.removeHandler(handler)
        root.setLevel(level)
        handler.close()
