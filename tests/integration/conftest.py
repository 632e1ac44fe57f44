"""A tiny random model and a small scene world, shared by the tests of whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lvlmsal.evaluation import Result, evaluate
from lvlmsal.lvlm import Lvlm, load
from lvlmsal.pocket.world import write_world
from lvlmsal.testing.tiny import tiny_lvlm


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> Lvlm:
    return load(tiny_lvlm("llava"))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a checkpoint folder, which a config can name."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny-llava"
    model, processor = tiny_lvlm("llava")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("data") / "world", images=3, seed=3, shifted=True)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A world of its own, for tests that damage it."""
    return write_world(tmp_path / "world", images=3, seed=3, shifted=True)


def make_config(output: Path, root: Path) -> dict[str, Any]:
    return {
        "output": str(output),
        "models": [{"source": "tiny/llava", "name": "tiny"}],
        "methods": [
            "greedy",
            {"name": "sgrs", "decoder": {"name": "sgrs", "layers": [1]}},
        ],
        "benchmarks": [
            {"name": "pope", "split": "random", "max_new_tokens": 2, "limit": 1},
            {"name": "chair", "max_new_tokens": 3},
        ],
        "data": {"root": str(root)},
        "bootstrap": {"samples": 100},
        "batch_size": 2,
    }


@pytest.fixture
def config(tmp_path: Path, shared_world: Path) -> dict[str, Any]:
    return make_config(tmp_path / "run", shared_world)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, shared_world: Path, tiny: Lvlm) -> Result:
    """A whole run of `config`; tests that change its folder copy it first."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return evaluate(make_config(folder, shared_world), models={"tiny": tiny})
