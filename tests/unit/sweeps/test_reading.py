"""Configs of sweeps: bases, overrides, and all problems at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.plan import make_plan
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.sweeps.reading import read_sweep
from tests.packaged import SWEEPS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("data") / "world", images=2, seed=0, shifted=True)


@pytest.fixture
def config(tmp_path: Path, world: Path) -> dict[str, Any]:
    return {
        "output": str(tmp_path / "run"),
        "models": ["llava-1.5-7b"],
        "methods": ["greedy"],
        "benchmarks": ["chair"],
        "data": {"root": str(world)},
        "sweep": {"method": "sgrs", "grids": [{"sgrs.alpha": [0, 0.3]}, {"sgrs.k": [2]}]},
    }


def test_a_sweep_comes_to_an_ordinary_config(config: dict[str, Any]) -> None:
    found = read_sweep(config)
    names = ["greedy", "sgrs.alpha=0", "sgrs.alpha=0.3", "sgrs.k=2"]
    assert [method["name"] for method in found.config["methods"]] == names
    assert [cell.method for cell in make_plan(found.config).cells] == names
    assert [cell.decoder.alpha for cell in found.plan.cells[1:]] == [0.0, 0.3, 0.6]
    assert found.plan.config.baseline == "greedy"


def test_overrides_reach_the_sweep_and_the_run(config: dict[str, Any]) -> None:
    changes = [
        "sweep.method.decoder.window=9",
        "sweep.grids.0[sgrs.alpha]=[0.9]",
        "benchmarks.chair.limit=1",
        "baseline=sgrs.k=2",
    ]
    found = read_sweep(config, changes)
    assert [cell.method for cell in found.plan.cells] == ["greedy", "sgrs.alpha=0.9", "sgrs.k=2"]
    assert {cell.decoder.window for cell in found.plan.cells[1:]} == {9}
    assert found.plan.cells[0].benchmark.limit == 1
    assert found.plan.config.baseline == "sgrs.k=2"
    # the dictionary that was given is still the user's
    assert config["sweep"]["grids"][0] == {"sgrs.alpha": [0, 0.3]}


def test_a_base_stands_under_the_config(config: dict[str, Any], tmp_path: Path) -> None:
    base = {key: config.pop(key) for key in ("models", "benchmarks", "data")}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({**base, "seed": 3, "batch_size": 2}))
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**config, "base": "base.yaml", "seed": 4}))
    plan = read_sweep(path, ["batch_size=${seed}"]).plan
    assert (plan.config.seed, plan.config.batch_size) == (4, 4)
    assert plan.cells[0].model.name == "llava-1.5-7b"
    path.write_text(yaml.safe_dump({**config, "base": "dmo"}))
    with pytest.raises(ConfigError, match=r"sweep.yaml: base: .* Did you mean 'demo'"):
        read_sweep(path)
    overrides = [f"world.root={tmp_path / 'world'}", "world.images=2"]
    found = read_sweep({**config, "base": "demo_shapes"}, overrides)
    assert {cell.model.name for cell in found.plan.cells} == {"pocket-llava", "pocket-qwen2vl"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "sweep: expected `method` and `grids`"),
        ({"method": "sgrs"}, "sweep.grids: expected a list of grids"),
        ({"method": "sgrs", "grids": {"sgrs.alpha": [0]}}, "sweep.grids: expected a list"),
        ({"method": "sgrs", "grids": ["sgrs.alpha"]}, "sweep.grids[0]: expected options"),
        ({"grids": [{"sgrs.alpha": [0]}]}, "sweep.method: expected the decoder"),
        ({"method": "sgsr", "grids": [{"sgrs.k": [1]}]}, "Did you mean 'sgrs'"),
        ({"method": {"decodr": "sgrs"}, "grids": [{"sgrs.k": [1]}]}, "sweep.method.decodr: there"),
        ({"method": "sgrs", "grid": [], "grids": [{"sgrs.k": [1]}]}, "Did you mean 'grids'"),
        ({"method": "sgrs", "grids": [{"sgrs.k": [1]}], "diagnose": 3}, "expected true or false"),
        ({"method": "sgrs", "grids": [{"sgrs.k": [0]}]}, "k must be at least 1, got 0"),
        ({"method": "sgrs", "grids": [{"sgrs.k": [3]}]}, ""),
    ],
)
def test_a_sweep_s_mistakes_are_told_with_the_run_s(
    config: dict[str, Any], tmp_path: Path, spec: object, words: str
) -> None:
    config |= {"sweep": spec, "seed": -1, "world": {"root": str(tmp_path / "new"), "images": 2}}
    with pytest.raises(ConfigError) as caught:
        read_sweep(config, ["benchmarks.chair.limt=3"])
    text = str(caught.value)
    for expected in (words, "seed: must be at least 0", "Did you mean 'limit'"):
        assert expected in text, text
    # nothing else is made of the missing points
    assert len(caught.value.problems) == 2 + bool(words)
    assert not (tmp_path / "new").exists()


def test_a_point_that_only_fails_together_is_told(config: dict[str, Any]) -> None:
    config["sweep"] = {
        "method": {"interventions": ["locore"]},
        "grids": [{"locore.beta": [0, -1], "locore.mode": ["weights", "renormalized"]}],
    }
    with pytest.raises(ConfigError) as caught:
        read_sweep(config)
    (problem,) = caught.value.problems
    assert "locore.beta=-1, locore.mode=renormalized" in problem
    assert "adds log(0)" in problem


def test_the_axes_that_are_asked_for_must_be_there(config: dict[str, Any]) -> None:
    assert read_sweep(config, axes=["sgrs.k"]).grids
    with pytest.raises(ConfigError, match=r"one over locore.beta, got sgrs.alpha; sgrs.k"):
        read_sweep(config, axes=["locore.beta"])


# that of the paper's Table 6, which needs COCO, is tried in test_paper_configs.py
@pytest.mark.parametrize("name", [name for name in SWEEPS if not name.startswith("paper/")])
def test_packaged_sweeps_are_valid(name: str, tmp_path: Path) -> None:
    overrides = [
        f"output={tmp_path / 'run'}",
        f"world.root={tmp_path / 'world'}",
        "world.images=2",
    ]
    found = read_sweep(name, overrides)
    methods = {point.method for grid in found.grids for point in grid.points}
    assert methods <= {cell.method for cell in found.plan.cells}
    shapes, stickers = {"pocket-llava", "pocket-qwen2vl"}, {"pocket-idefics3"}
    models = stickers if name.startswith("stickers/") else shapes
    assert {cell.model.source for cell in found.plan.cells} == models
