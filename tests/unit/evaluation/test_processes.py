"""A process that was lost is told from one that has ended, and from a stop."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvlmsal.errors import ProcessLost
from lvlmsal.evaluation.run.attendance import Attendance
from lvlmsal.evaluation.run.guards import ends_on_sigterm
from lvlmsal.evaluation.run.processes import Watch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing until it is ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def say(folder: Path, rank: int, pid: int, host: str = "") -> Path:
    path = folder / f".process.{rank}"
    path.write_text(f"{pid} {host or platform.node()}\n")
    return path


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_a_number_without_a_process_is_one_that_was_lost(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    mine = Attendance(tmp_path, rank=0, processes=3)
    mine.enter()
    one, two = say(tmp_path, 1, other.pid), say(tmp_path, 2, os.getpid())
    mine.complete()
    assert mine.lost() == {}
    end(other)
    assert mine.lost() == {1: other.pid}
    say(tmp_path, 1, other.pid, "of another machine")
    assert mine.lost() == {}
    one.unlink()
    assert mine.lost() == {}
    assert mine.left() == [1]
    two.write_text("")
    assert mine.lost() == {}
    mine.leave()
    assert [path.name for path in tmp_path.iterdir()] == [".process.2"]


def test_a_child_that_nobody_has_asked_for_its_code_is_gone_too(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system has no /proc")
    mine = Attendance(tmp_path, rank=0, processes=2)
    say(tmp_path, 1, other.pid)
    mine.complete()
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert mine.lost() == {1: other.pid}


def test_what_an_earlier_run_has_left_is_nobody_that_was_lost(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    end(other)
    say(tmp_path, 1, other.pid)
    mine = Attendance(tmp_path, rank=0, processes=2)
    assert mine.lost() == {}
    assert mine.left() == []


def test_a_single_process_leaves_no_file(tmp_path: Path) -> None:
    with Watch(tmp_path, rank=0, processes=1):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torchrun", [False, True])
def test_sigterm_after_a_loss_is_a_loss_and_torchrun_cannot_cut_the_message_off(
    tmp_path: Path,
    other: subprocess.Popen[bytes],
    torchrun: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if torchrun:
        for name in ("GROUP_RANK", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
            monkeypatch.setenv(name, "1")
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    say(tmp_path, 1, other.pid)
    text = rf"^process 1 of the run \(pid {other.pid}\) is gone; what all of them have answered"
    told = pytest.raises(ProcessLost, match=text)
    with told as caught, ends_on_sigterm(), Watch(tmp_path, rank=0, processes=2) as watch:
        watch.complete()
        end(other)
        os.kill(os.getpid(), signal.SIGTERM)
    assert not caught.value.told
    after = signal.SIG_IGN if torchrun else signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is after
    assert not (tmp_path / ".process.0").exists()


@pytest.mark.parametrize("left", [False, True])
def test_sigterm_to_all_is_a_stop(
    tmp_path: Path, other: subprocess.Popen[bytes], left: bool
) -> None:
    path = say(tmp_path, 1, other.pid)
    stopped = pytest.raises(SystemExit)
    with stopped as caught, ends_on_sigterm(), Watch(tmp_path, rank=0, processes=2) as watch:
        watch.complete()
        if left:
            path.unlink()
            end(other)
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143


def test_a_connection_that_is_closed_waits_for_the_process_to_be_gone(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    say(tmp_path, 0, other.pid)
    told = pytest.raises(ProcessLost, match=r"^the first process of the run \(pid \d+\) is gone")
    with told as caught, Watch(tmp_path, rank=1, processes=2) as watch:
        watch.complete()
        subprocess.Popen(["/bin/sh", "-c", f"sleep 0.2; kill -9 {other.pid}"])
        raise RuntimeError("[..] Connection closed by peer [127.0.0.1]:1")
    assert not caught.value.told


def test_one_of_those_that_are_left_tells(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    say(tmp_path, 0, os.getpid())
    say(tmp_path, 1, other.pid)
    told = pytest.raises(ProcessLost)
    with told as caught, Watch(tmp_path, rank=2, processes=3) as watch:
        watch.complete()
        end(other)
        raise RuntimeError("Connection reset by peer")
    assert caught.value.told


def test_a_stop_that_a_library_turns_into_an_error_is_still_a_stop() -> None:
    stopped = pytest.raises(SystemExit)
    with stopped as caught, ends_on_sigterm():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            raise AttributeError("cleaning up has failed")
    assert caught.value.code == 143
