"""What surrounds a run: quiet libraries, a log file, and Ctrl+C that stays Ctrl+C."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from lightning.fabric.utilities.warnings import PossibleUserWarning
from transformers.utils.logging import (
    disable_progress_bar,
    enable_progress_bar,
    is_progress_bar_enabled,
)


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
    """Turn Lightning's exit after Ctrl+C back into the KeyboardInterrupt that it was."""
    try:
        yield
    except SystemExit:
        if callback.interrupted:
            raise KeyboardInterrupt from None
        raise


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notices about devices and data loaders out of the progress display."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [found.level for found in loggers]
    for found in loggers:
        found.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=PossibleUserWarning)
            warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
            yield
    finally:
        for found, level in zip(loggers, levels, strict=True):
            found.setLevel(level)


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append what the library and Lightning log, and every warning, to a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
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
