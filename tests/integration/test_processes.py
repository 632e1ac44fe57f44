"""Several processes on the CPU: the same records as of one, and nobody waits for the dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.strategies.launchers import subprocess_script

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation import Result, evaluate
from lvlmsal.evaluation.config.schema import TrainerConfig, WorldConfig
from lvlmsal.evaluation.config.trainer import make_trainer, trainer_problems
from lvlmsal.evaluation.config.world import ensure_world
from lvlmsal.evaluation.results.records import TIMINGS
from lvlmsal.evaluation.results.writing import RecordWriter
from lvlmsal.evaluation.run import processes
from lvlmsal.pocket.scenes.world import write_world
from tests.tiers import in_full

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems"),
]

SAMPLES = 7
# Seconds after which a test gives up: far more than anything takes, also where others compute too.
PATIENCE = 900
DDP = ("trainer.accelerator=cpu", "trainer.strategy=ddp")


def lines(folder: Path) -> list[str]:
    """The lines of a run's records without their timings."""
    found = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return [json.dumps({k: v for k, v in r.items() if k not in TIMINGS}) for r in found]


def written(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("records*.jsonl"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "world"
    return write_world(folder, images=SAMPLES, seed=5, shifted=True)


def make_config(root: Path, output: Path, tokens: int) -> dict[str, Any]:
    return {
        "output": str(output),
        "models": ["pocket-llava"],
        "methods": ["greedy", {"name": "sgrs", "decoder": {"name": "sgrs"}}],
        "benchmarks": [{"name": "chair", "max_new_tokens": tokens}],
        "data": {"root": str(root)},
        "bootstrap": {"samples": 100},
        "batch_size": 1,
        "logger": "none",
    }


@pytest.fixture(scope="module")
def alone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The run of one process."""
    return evaluate(make_config(root, tmp_path_factory.mktemp("alone") / "run", 6))


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the command line on so many processes; nothing of it is left after the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(
        *words: str,
        tokens: int = 6,
        launcher: tuple[str, ...] = (sys.executable,),
    ) -> Any:
        config = make_config(root, tmp_path / "run", tokens)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        command = [*launcher, "-m", "lvlmsal", "evaluate"]
        process = subprocess.Popen(
            [*command, str(tmp_path / "config.yaml"), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
            # a test that runs in the background has SIGINT ignored, and would hand that on
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        # those of torchrun are in sessions of their own
        for pid in [*family(process.pid), process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(path.parent.name))
    return found


def family(parent: int) -> list[int]:
    """The processes that a process has started, with all that these have started."""
    return [pid for child in children(parent) for pid in (*family(child), child)]


def until(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        if process is not None and process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()[1]}")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.mark.parametrize("several", in_full([2, 3], but=2))
def test_several_then_one_then_two_processes_give_the_records_of_one(
    start: Start,
    root: Path,
    tmp_path: Path,
    alone: Result,
    monkeypatch: pytest.MonkeyPatch,
    several: int,
) -> None:
    """Seven samples over several processes, cut, and gone on with by one and by two."""
    folder = tmp_path / "run"
    process = start(f"trainer.devices={several}", *DDP)
    until(lambda: written(folder) >= 3, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, 143), errors
    assert "Traceback" not in errors
    until(lambda: group_is_gone(process.pid))

    append, enough = RecordWriter._append, written(folder) + 3

    def stop(self: RecordWriter, *words: Any) -> None:
        append(self, *words)
        if written(folder) >= enough:
            raise KeyboardInterrupt

    monkeypatch.setattr(RecordWriter, "_append", stop)
    # on a fast machine the signal may have come too late to leave anything
    with suppress(KeyboardInterrupt):
        evaluate(make_config(root, folder, 6))
    monkeypatch.undo()
    process = start("trainer.devices=2", *DDP)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert lines(folder) == lines(alone.folder)
    assert output.count("run folder:") == 1
    assert not list(folder.glob("records.rank*"))


@pytest.mark.full
def test_more_processes_than_samples(start: Start, tmp_path: Path) -> None:
    process = start("trainer.devices=3", "benchmarks.*.limit=2", *DDP)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    found = [json.loads(line) for line in lines(tmp_path / "run")]
    assert [(r["method"], r["sample_id"]) for r in found] == [
        ("greedy", "1"),
        ("greedy", "2"),
        ("sgrs", "1"),
        ("sgrs", "2"),
    ]


SECOND_KILLED = (
    "second",
    signal.SIGKILL,
    2,
    "was killed by signal 9; what all of them have answered",
)


@needs_proc
@pytest.mark.parametrize(
    ("target", "number", "code", "said"),
    in_full(
        [
            ("first", signal.SIGTERM, 143, "stopped; rerun the same command to resume"),
            ("first", signal.SIGINT, 130, "stopped; rerun the same command to resume"),
            ("first", signal.SIGKILL, -9, "error: the first process of the run (pid "),
            SECOND_KILLED,
        ],
        but=SECOND_KILLED,
    ),
)
def test_a_process_that_is_ended_ends_the_others(
    start: Start, tmp_path: Path, target: str, number: int, code: int, said: str
) -> None:
    folder = tmp_path / "run"
    process = start("trainer.devices=2", *DDP, tokens=400)
    until(lambda: written(folder) >= 2, process)
    others = children(process.pid)
    assert others
    os.kill(process.pid if target == "first" else others[0], number)
    # ends once none of them holds the pipe
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, errors
    assert said in errors
    assert "Traceback" not in errors
    assert errors.count("stopped;") + errors.count("error:") == 1
    until(lambda: not any(map(is_alive, others)))
    # a signal may find the last record on its way to the disk
    assert written(folder) >= 1


RANK = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: None)  # of torchrun, which sends it to this process too
code = subprocess.run([sys.executable, *sys.argv[2:]]).returncode
open(f"{sys.argv[1]}/code{os.environ['RANK']}", "w").write(str(code))
sys.exit(code % 256)
"""


def rank_of(pid: int) -> int:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return int(next(v for v in variables if v.startswith(b"RANK=")).removeprefix(b"RANK="))


@pytest.mark.full
@needs_proc
@pytest.mark.parametrize(
    ("target", "number", "codes", "said"),
    [
        (0, signal.SIGKILL, (-9, 2), "error: the first process of the run (pid "),
        (1, signal.SIGKILL, (2, -9), "error: process 1 of the run (pid "),
        (None, signal.SIGTERM, (143, 143), "stopped; rerun the same command to resume"),
    ],
)
def test_the_loss_of_a_process_of_torchrun_is_told_from_a_stop(
    start: Start,
    tmp_path: Path,
    target: int | None,
    number: int,
    codes: tuple[int, int],
    said: str,
) -> None:
    """torchrun ends the others with SIGTERM in both cases; ``None`` is torchrun itself."""
    (tmp_path / "rank.py").write_text(RANK)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
    rank = ("--no-python", sys.executable, str(tmp_path / "rank.py"), str(tmp_path))
    process = start("trainer.devices=2", *DDP, tokens=400, launcher=(*torchrun, *rank))
    folder = tmp_path / "run"
    until(lambda: written(folder) >= 2, process)
    shells = {rank_of(pid): pid for pid in children(process.pid)}
    pids = {rank: children(pid)[0] for rank, pid in shells.items()}
    os.kill(process.pid if target is None else pids[target], number)
    _, errors = process.communicate(timeout=PATIENCE)
    until(lambda: not any(map(is_alive, pids.values())))
    assert [int((tmp_path / f"code{rank}").read_text()) for rank in (0, 1)] == list(codes), errors
    lines = [line for line in errors.splitlines() if line.startswith(("error:", "stopped;"))]
    assert len(lines) == 1, errors
    assert lines[0].startswith(said)


def test_the_observer_of_lightning_is_given_nothing_to_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would kill the first process, without a word, when another one has failed."""
    watched: list[list[Any]] = []
    monkeypatch.setattr(subprocess_script, "_launch_process_observer", watched.append)
    trainer = make_trainer(TrainerConfig(accelerator="cpu", devices=3, strategy="ddp"))
    launcher: Any = trainer.strategy.launcher
    others = [subprocess.Popen([sys.executable, "-c", ""]) for _ in range(2)]
    monkeypatch.setattr(launcher, "_call_children_scripts", lambda: launcher.procs.extend(others))
    taken: list[Any] = []
    monkeypatch.setattr(processes, "_started", taken)
    processes.Watch(tmp_path, rank=0, processes=3).follow(trainer)
    launcher.launch(lambda: None)
    assert watched == [[]]
    assert taken == others
    for process in others:
        process.wait()


@pytest.mark.full
def test_torchrun_gives_the_records_of_one(start: Start, tmp_path: Path, alone: Result) -> None:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
    process = start("trainer.devices=2", *DDP, launcher=launcher)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert lines(tmp_path / "run") == lines(alone.folder)
    assert output.count("run folder:") == 1


def test_torchrun_and_config_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "GROUP_RANK": 0, "LOCAL_WORLD_SIZE": 2}
    for name, value in {**found, "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, str(value))
    (problem,) = trainer_problems(TrainerConfig(accelerator="cpu"))
    assert "torchrun has started 2 processes" in problem
    assert "set trainer.devices to --nproc-per-node" in problem
    assert trainer_problems(TrainerConfig(accelerator="cpu", devices=2, strategy="ddp")) == []


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed", "ddp_spawn", "ddp_notebook", "what"])
def test_strategies_that_cannot_work_are_refused(strategy: str) -> None:
    (problem,) = trainer_problems(TrainerConfig(accelerator="cpu", strategy=strategy))
    assert f"trainer.strategy: {strategy!r} is not supported; there are 'auto' and 'ddp'" in problem
    assert "device_map=auto" in problem


def test_slurm_does_not_save_weights_and_requeue(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLURM_NTASKS": "1",
        "SLURM_JOB_NAME": "run",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    trainer = make_trainer(TrainerConfig(accelerator="cpu", strategy="ddp"))
    environment: Any = trainer.strategy.cluster_environment
    assert type(environment).__name__ == "SLURMEnvironment"
    assert not environment.auto_requeue


def test_a_device_map_takes_one_process(root: Path, tmp_path: Path) -> None:
    config = make_config(root, tmp_path / "run", 4)
    config["models"] = [{"source": "pocket-llava", "device_map": "auto"}]
    with pytest.raises(ConfigError) as caught:
        evaluate(config, ["trainer.devices=2"])
    assert "trainer.devices: must be 1 with the device_map of 'pocket-llava'" in str(caught.value)


def test_a_world_that_another_process_writes_first_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Launchers start all processes at once, and all of them want the world."""
    asked = WorldConfig(root=str(tmp_path / "world"), images=1, seed=0)
    rename = Path.replace

    def late(self: Path, target: Any) -> Path:
        monkeypatch.setattr(Path, "replace", rename)
        write_world(asked.root, images=asked.images, seed=asked.seed, shifted=asked.shifted)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", late)
    ensure_world(asked)
    assert [path.name for path in tmp_path.iterdir()] == ["world"]
