"""Progress of a run: a bar in a terminal, and a line for each part that is finished."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lvlmsal.progress import Progress


class RunProgress(Progress):
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
        super().__init__("starting", total, done=done, delay=0, shown=visible)
        self._whose = f" by the first of {processes} processes" if processes > 1 else ""
        self._parts = parts
        self._part = 0
        self._tokens = 0
        self._seconds = 0.0
        self._samples = 0

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

    def answered(self, samples: int, tokens: int, seconds: float) -> None:
        """Count a batch."""
        self._samples += samples
        self._tokens += tokens
        self._seconds += seconds
        self.advance(samples)
