"""Progress of a run: one bar in a terminal, one line per finished part elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lvlmsal.escaping import visible


class RunProgress:
    """Shows how far a run is.

    Args:
        total: Number of samples over all parts.
        done: How many of them were answered by an earlier run.
        parts: Number of parts (a model with a method on a benchmark).
        visible: False in every process but the first.
        processes: How many there are; the first one sees only what it answers itself.
    """

    def __init__(
        self, total: int, *, done: int, parts: int, visible: bool = True, processes: int = 1
    ) -> None:
        self._whose = f" by the first of {processes} processes" if processes > 1 else ""
        self._console = Console(file=sys.stderr, quiet=not visible)
        self._parts = parts
        self._part = 0
        self._tokens = 0
        self._seconds = 0.0
        self._samples = 0
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=total, completed=done)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(visible(text), highlight=False, markup=False, soft_wrap=True)

    def describe(self, text: str) -> None:
        """Say what is going on now."""
        self._bar.update(self._task, description=visible(text))

    def skip(self, parts: int) -> None:
        """Count parts that an earlier run has finished."""
        self._part += parts

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """Show one part; a line with its speed is printed at the end."""
        self._part += 1
        self._tokens, self._seconds, self._samples = 0, 0.0, 0
        self.describe(title)
        started = time.perf_counter()
        yield
        speed = f", {self._tokens / self._seconds:.0f} tokens/s" if self._seconds else ""
        self.note(
            f"[{self._part:>{len(str(self._parts))}}/{self._parts}] {title}: {self._samples} "
            f"answers{self._whose} in {time.perf_counter() - started:.1f} s{speed}"
        )

    def advance(self, samples: int, tokens: int, seconds: float) -> None:
        """Count a batch."""
        self._samples += samples
        self._tokens += tokens
        self._seconds += seconds
        self._bar.advance(self._task, samples)

    def __enter__(self) -> RunProgress:
        """Start the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self._bar.stop()
