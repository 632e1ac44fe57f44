"""One run folder, one writer; a dead one blocks nobody."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.errors import LvlmsalError
from lvlmsal.evaluation.results.locks import RunLock

HOLD = """
import sys, time
from pathlib import Path
from lvlmsal.evaluation.results.locks import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_holder_is_named_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LvlmsalError) as caught, RunLock(tmp_path):
            pass
        assert f"another process (process {holder.pid} on " in str(caught.value)
        assert f"is writing to {tmp_path}: wait for it, stop it, or choose" in str(caught.value)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / ".lock").exists()
    with RunLock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_a_lock_file_without_a_process_means_nothing(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("process 1 on another-host\n" * 9)
    with RunLock(tmp_path):
        assert (tmp_path / ".lock").read_text().count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="flock is of POSIX systems")
def test_a_file_system_without_locks_is_told_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with RunLock(tmp_path):
        assert "cannot be locked (No locks available)" in caplog.text


def test_a_folder_that_is_gone_or_read_only_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LvlmsalError, match=r"\.lock cannot be written: No such file"):
        RunLock(tmp_path / "gone").__enter__()

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(LvlmsalError, match=r"\.lock cannot be written: Permission denied"):
        RunLock(tmp_path).__enter__()
