"""Progress: nothing of short work, lines with an estimate in a pipe, a bar on a terminal."""

from __future__ import annotations

import io
import re
import sys

import pytest

from lvlmsal.progress import Progress, track


class Clock:
    """Seconds that go on when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


def worked(steps: int, seconds: float, *, done: int = 0, shown: bool = True) -> None:
    """Do so many of twenty steps, each in so many seconds."""
    clock = Clock()
    with Progress("answers", 20, done=done, shown=shown, clock=clock) as progress:
        for _ in range(steps):
            clock.now += seconds
            progress.advance()


def test_a_pipe_gets_a_line_a_minute_with_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    worked(5, 30.0)
    captured = capsys.readouterr()
    assert captured.out == ""
    # two steps a minute: the rest takes as long for each
    assert captured.err.splitlines() == [
        "answers: 2 of 20 after 0:01:00, about 0:09:00 left",
        "answers: 4 of 20 after 0:02:00, about 0:08:00 left",
    ]


def test_what_an_earlier_run_did_says_nothing_of_the_speed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    worked(2, 60.0, done=10)
    assert capsys.readouterr().err.splitlines() == [
        "answers: 11 of 20 after 0:01:00, about 0:09:00 left",
        "answers: 12 of 20 after 0:02:00, about 0:08:00 left",
    ]


def test_the_last_step_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    worked(1, 60.0, done=19)
    assert capsys.readouterr().err == "answers: 20 of 20 after 0:01:00\n"


def test_an_unknown_total_has_no_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress("files", clock=clock) as progress:
        clock.now += 60
        progress.advance(3)
        progress.reach(4, 8)
        clock.now += 60
        progress.advance()
    assert capsys.readouterr().err.splitlines() == [
        "files: 3 after 0:01:00",
        "files: 5 of 8 after 0:02:00, about 0:01:12 left",
    ]


def test_short_work_and_other_processes_say_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worked(20, 2.0)
    worked(20, 100.0, shown=False)
    assert list(track([1, 2, 3], "numbers")) == [1, 2, 3]
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    worked(1, 1.9)
    assert stderr.getvalue() == ""
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    worked(3, 2.0)
    assert "answers" in stderr.getvalue()
    assert "3/20" in stderr.getvalue()
    assert "\x1b[" in stderr.getvalue()


def test_work_within_work_has_a_line_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr, clock = Terminal(), Clock()
    monkeypatch.setattr(sys, "stderr", stderr)
    with Progress("answers", 20, clock=clock) as whole:
        clock.now += 3
        whole.advance()
        with Progress("digests", 5, clock=clock) as part:
            clock.now += 3
            part.advance()
        both = stderr.getvalue()
        stderr.truncate(0)
        whole.advance()
    # one screen has both, and the inner one goes when it is done
    screen = both.split("answers")[-1]
    assert "1/20" in screen
    assert re.search(r"\ndigests .*[01]/5", screen)
    assert "2/20" in stderr.getvalue()
    assert "digests" not in stderr.getvalue().split("answers")[-1]


def test_of_the_processes_of_a_run_the_first_one_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    worked(2, 60.0)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("LOCAL_RANK", "0")
    worked(2, 60.0)
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_no_color_leaves_a_bar_without_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    worked(3, 2.0)
    assert "3/20" in stderr.getvalue()
    assert "\x1b[3" not in stderr.getvalue()  # no color; the cursor is moved all the same


@pytest.mark.parametrize(("name", "value"), [("FORCE_COLOR", "1"), ("TERM", "dumb")])
def test_what_cannot_show_a_bar_gets_none(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    stderr = io.StringIO() if name == "FORCE_COLOR" else Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    worked(2, 30.0)
    assert stderr.getvalue() == "answers: 2 of 20 after 0:01:00, about 0:09:00 left\n"
