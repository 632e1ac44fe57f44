"""How far long work is: a bar with the time that is left, or a line now and then in a pipe.

Both are on stderr, so that what is printed or piped is the result alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from datetime import timedelta
from typing import ClassVar, Final, Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)

from lvlmsal.escaping import visible

T = TypeVar("T")

DELAY: Final = 2.0
"""Seconds after which work counts as long; what takes less shows nothing."""
EVERY: Final = 60.0
"""Seconds between two lines where there is no terminal."""
# Seconds whose steps an estimate is made from: a batch may take minutes, and it needs two of them.
_PERIOD: Final = 1800.0


class Progress:
    """Shows how far something is.

    Args:
        what: What is done, in a word or two.
        total: How many steps there are; None where that is not known.
        done: How many of them were done before.
        delay: Seconds before anything is shown.
        shown: False in every process but one; of the processes of a run on one machine, all but
            the first show nothing anyway.
        clock: Seconds that go on.
    """

    # What a terminal shows: work within work has a line below that of the whole.
    _open: ClassVar[Bar | None] = None

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        done: int = 0,
        delay: float = DELAY,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._total, self._done, self._before = what, total, done, done
        self._delay, self._clock = delay, clock
        self._visible = shown and os.environ.get("LOCAL_RANK", "0") == "0"
        self._started = self._told = clock()
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._is_inner = False

    def __enter__(self) -> Self:
        """Begin to count the time."""
        self._started = self._told = self._clock()
        self._show()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        if self._bar is None:
            return
        if self._is_inner:
            self._bar.remove_task(self._task)
        else:
            self._bar.stop()
            Progress._open = None

    def describe(self, what: str) -> None:
        """Say what is going on now."""
        self._what = what
        self._show()

    def note(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        self._told = self._clock()
        if self._visible:
            console = Console(file=sys.stderr) if self._bar is None else self._bar.console
            console.print(visible(text), highlight=False, markup=False, soft_wrap=True)

    def advance(self, steps: int = 1) -> None:
        """Count what was done."""
        self._done += steps
        self._show()

    def reach(self, done: int, total: int) -> None:
        """Say how much of how much is done."""
        self._done, self._total = done, total
        self._show()

    def _show(self) -> None:
        if not self._visible:
            return
        now = self._clock()
        if self._bar is None and now - self._started >= self._delay and _has_terminal():
            self._is_inner = Progress._open is not None
            self._bar = Progress._open or _started_bar()
            Progress._open = self._bar
            self._task = self._bar.add_task(
                visible(self._what), total=self._total, completed=self._before
            )
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=visible(self._what),
                completed=self._done,
                total=self._total,
            )
        elif now - self._told >= EVERY:
            self.note(self._line(now - self._started))

    def _line(self, seconds: float) -> str:
        of = "" if self._total is None else f" of {self._total}"
        text = f"{self._what}: {self._done}{of} after {_span(seconds)}"
        new, left = self._done - self._before, (self._total or 0) - self._done
        return text + (f", about {_span(seconds / new * left)} left" if new > 0 < left else "")


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items, one by one, with a :class:`Progress` for as long as they last.

    Args:
        items: What is done.
        what: What that is, in a word or two.
        total: How many there are, where they do not say so themselves.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total) as progress:
        for item in items:
            yield item
            progress.advance()


def _started_bar() -> Bar:
    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
        speed_estimate_period=_PERIOD,
    )
    bar.start()
    return bar


def _has_terminal() -> bool:
    # FORCE_COLOR makes a terminal of a file in rich's eyes, where a bar would be pages of codes
    return sys.stderr.isatty() and Console(file=sys.stderr).is_interactive


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
