"""What a run survives: kills, full disks, lost files; every message says what to do."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import yaml

from lvlmsal.errors import ConfigError, DataError, LvlmsalError
from lvlmsal.evaluation import Result, evaluate, score
from lvlmsal.evaluation.results.records import TIMINGS
from lvlmsal.evaluation.results.writing import RecordWriter
from lvlmsal.model.lvlm import Lvlm
from tests.tiers import in_full

pytestmark = pytest.mark.slow

Config = dict[str, Any]


def lines(folder: Path) -> list[str]:
    """The lines of a run's records without their timings."""
    found = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return [json.dumps({k: v for k, v in r.items() if k not in TIMINGS}) for r in found]


def figures(folder: Path) -> Any:
    cells = json.loads((folder / "results.json").read_text())["cells"]
    for cell in cells:
        # the metric's options hold paths
        for varying in ("tokens_per_second", "cost", "metric_options"):
            cell.pop(varying)
    return cells


@pytest.fixture
def run(tiny: Lvlm) -> Callable[..., Result]:
    def start(config: Config, *overrides: str) -> Result:
        return evaluate(config, overrides, models={"tiny": tiny})

    return start


@pytest.fixture
def copied(config: Config, finished: Result) -> Path:
    folder = Path(config["output"])
    shutil.copytree(finished.folder, folder)
    return folder


# One process that is killed and started again pays for its imports once: it forks.
SCRIPT = """
import os, signal, sys, time
import torch
from lvlmsal.evaluation import evaluate
from lvlmsal.model.loading import load
torch.set_num_threads(1)
lvlm = load(sys.argv[2])
while True:
    limit = sys.stdin.readline()
    child = os.fork()
    if not child:
        evaluate(sys.argv[1], models={"tiny": lvlm})
        os._exit(0)
    end = time.monotonic() + float(limit)
    over = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while time.monotonic() < end and not os.waitid(os.P_PID, child, over):
        time.sleep(0.001)
    os.kill(child, int(sys.argv[3]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks")
@pytest.mark.parametrize(
    ("number", "code"),
    in_full([(signal.SIGKILL, -9), (signal.SIGTERM, 143)], but=(signal.SIGKILL, -9)),
)
def test_a_run_that_is_killed_again_and_again_ends_like_any_other(
    config: Config,
    tiny_folder: Path,
    tmp_path: Path,
    finished: Result,
    number: int,
    code: int,
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [tmp_path / "script.py", tmp_path / "config.yaml", tiny_folder, int(number)]
    moments = random.Random(number)
    codes: Counter[int] = Counter()
    with subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for attempt in range(40):
            # earlier and later ones in turn, the last ones with all the time that there is
            limit = moments.uniform(0.05, 1.0) if attempt < 8 else 60
            process.stdin.write(f"{limit}\n")
            process.stdin.flush()
            ended = int(process.stdout.readline())
            codes[ended] += 1
            if ended == 0:
                break
        process.kill()
    assert set(codes) <= {0, code, -number}, codes
    assert codes[0] == 1
    assert lines(Path(config["output"])) == lines(finished.folder)
    assert figures(Path(config["output"])) == figures(finished.folder)


class Full:
    """A file on a disk that is full after so many bytes."""

    def __init__(self, file: IO[bytes], room: list[int]) -> None:
        self._file, self._room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> int:
        if not self._room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._file.write(bytes(content[: self._room[0]]))
        self._room[0] -= written
        return written


@pytest.mark.parametrize("room", [0, 700, 5000])
def test_a_full_disk_stops_the_run_and_the_same_command_goes_on(
    config: Config,
    run: Callable[..., Result],
    finished: Result,
    monkeypatch: pytest.MonkeyPatch,
    room: int,
) -> None:
    opened, left = RecordWriter._opened, [room]
    monkeypatch.setattr(RecordWriter, "_opened", lambda self: Full(opened(self), left))
    with pytest.raises(LvlmsalError, match=r"records.jsonl cannot be written: No space left on"):
        run(config)
    folder = Path(config["output"])
    kept = (folder / "records.jsonl").read_bytes()
    assert kept.count(b"\n") < len(finished.records())
    assert not kept or kept.endswith(b"\n")
    monkeypatch.undo()
    run(config)
    assert lines(folder) == lines(finished.folder)
    assert figures(folder) == figures(finished.folder)


def test_a_log_that_cannot_be_written_is_said_once(
    config: Config,
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import logging

    def refuse(self: Any, record: Any) -> None:
        self.handleError(record)

    monkeypatch.setattr(logging.FileHandler, "emit", refuse)
    run(config)
    assert capsys.readouterr().err.count("the log is not written") == 1


def test_a_broken_image_in_the_middle_leaves_no_trace_once_it_is_mended(
    config: Config, run: Callable[..., Result], world: Path, finished: Result
) -> None:
    config["data"] = {"root": str(world)}
    path = sorted((world / "images").iterdir())[1]
    content = path.read_bytes()
    path.write_bytes(content[:200])
    with pytest.raises(DataError, match="max_failures"):
        run(config)
    run(config, "max_failures=1")
    path.write_bytes(content)
    result = run(config)
    assert lines(result.folder) == lines(finished.folder)
    assert figures(result.folder) == figures(finished.folder)


def test_failures_of_earlier_runs_are_tried_again_and_counted_anew(
    config: Config, run: Callable[..., Result], world: Path
) -> None:
    config["data"] = {"root": str(world)}
    config["benchmarks"] = [config["benchmarks"][1]]
    path = sorted((world / "images").iterdir())[0]
    path.write_bytes(path.read_bytes()[:200])
    folder = Path(config["output"])
    for _ in range(3):
        # one is allowed, and each run meets one
        cell = run(config, "max_failures=1").cell("tiny", "greedy", "chair")
        assert (cell["n"], cell["failed"]) == (3, 1)
        assert len(lines(folder)) == 6
    with pytest.raises(DataError, match=path.name):
        run(config)
    assert sum('"failed"' in line for line in set(lines(folder))) == 2


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        (lambda folder: (folder / "records.jsonl").unlink(), "was deleted or replaced while the"),
        # which of its files is missed first depends on the logger
        (lambda folder: shutil.rmtree(folder, ignore_errors=True), "the same command"),
    ],
)
def test_records_or_a_folder_that_are_deleted_during_the_run_are_told(
    config: Config,
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    remove: Callable[[Path], None],
    message: str,
) -> None:
    append, folder = RecordWriter._append, Path(config["output"])

    def lose(self: RecordWriter, *words: Any) -> None:
        append(self, *words)
        remove(folder)

    monkeypatch.setattr(RecordWriter, "_append", lose)
    with pytest.raises(LvlmsalError) as caught:
        run(config)
    assert str(caught.value).startswith(str(folder))
    assert message in str(caught.value)


def test_a_folder_that_becomes_read_only_is_told(
    config: Config, run: Callable[..., Result], copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def refuse(self: Path, *words: Any, **more: Any) -> int:
        if "results" in self.name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return write(self, *words, **more)

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(LvlmsalError) as caught:
        run(config)
    assert "results.json cannot be written: Permission denied" in str(caught.value)
    assert "fix this, then rerun the same command to resume" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("environment.json", None, "environment.json: is missing, though the run has records"),
        ("environment.json", "{", "environment.json: cannot be read: Expecting"),
        ("environment.json", "[]", "environment.json: is damaged: it must be an object, got"),
        ("environment.json", '{"data": 3}', "environment.json: is damaged: it has no packages"),
        ("config.yaml", None, "config.yaml: is missing, though the run has records"),
        ("config.yaml", "a: [", "config.yaml: cannot be read: "),
        ("config.yaml", "- a", "config.yaml: is damaged: it holds no keys"),
    ],
)
def test_lost_and_damaged_files_of_a_run_are_named(
    config: Config,
    run: Callable[..., Result],
    copied: Path,
    name: str,
    content: str | None,
    message: str,
) -> None:
    before = (copied / "records.jsonl").read_bytes()
    if content is None:
        (copied / name).unlink()
    else:
        (copied / name).write_text(content)
    with pytest.raises(DataError) as caught:
        run(config)
    assert message in str(caught.value)
    assert "choose another folder with output=..." in str(caught.value)
    assert (copied / "records.jsonl").read_bytes() == before


def test_records_of_unknown_cells_are_told_when_answering_and_when_scoring(
    config: Config, run: Callable[..., Result], copied: Path
) -> None:
    path = copied / "records.jsonl"
    record = json.loads(path.read_text().splitlines()[0])
    strange = {**record, "key": "0123456789abcdef/1", "method": "old"}
    path.write_text(path.read_text() + json.dumps(strange) + "\n")
    place = f"records.jsonl:{len(path.read_text().splitlines())}: this is the first of 1 answers"
    with pytest.raises(DataError, match=rf"{place} .*\n  1 of tiny with old on pope/random"):
        run(config)
    with pytest.raises(DataError, match="put together from several runs"):
        score(copied)


def test_a_config_that_lacks_what_the_run_has_is_told_in_one_line(
    config: Config, run: Callable[..., Result], copied: Path
) -> None:
    config["methods"] = ["greedy"]
    with pytest.raises(ConfigError) as caught:
        run(config, "benchmarks.chair.max_new_tokens=9")
    text = str(caught.value)
    assert "methods[sgrs]: the run has it, the config does not" in text
    assert "benchmarks[chair].max_new_tokens: the run has 3, the config 9" in text
    assert f"the settings of the run are in {copied / 'config.yaml'}" in text
