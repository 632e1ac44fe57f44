"""The source distribution and the wheel, built and installed as a user would get them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(
    ".*", "runs", "build", "dist", "__pycache__", "*.egg-info", "lightning_logs", "tests"
)
DATA = {
    *(".yaml", ".safetensors", ".json", ".jinja", ".md", ".txt", ".typed"),
    *(".html", ".css", ".js"),
}

USE = """
import importlib.resources, pathlib, sys
import lvlmsal
from lvlmsal.registry import ADAPTERS, BENCHMARKS, CATALOG, DECODERS, INTERVENTIONS, METRICS
import lvlmsal.cli
place = pathlib.Path(lvlmsal.__file__).parent
assert place.parent == pathlib.Path(sys.argv[1]), place
for registry in (ADAPTERS, BENCHMARKS, DECODERS, INTERVENTIONS, METRICS):
    assert registry.names(), registry
    for name in registry:
        module = sys.modules[registry.get(name).__module__]
        assert pathlib.Path(module.__file__).is_relative_to(place), module
assert CATALOG.get("pocket-llava").folder.is_relative_to(place)
assert importlib.resources.files("lvlmsal.configs").joinpath("__init__.py").is_file()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, which is built from a copy of the tree."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=LEFT_OUT)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", "out", "tree"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (built,) = (folder / "out").glob("*.whl")
    return built


def tree() -> set[str]:
    """What the wheel should hold: all modules and all data of the package, by their paths in it."""
    return {
        str(Path(folder, name).relative_to(ROOT))
        for folder, _, names in os.walk(ROOT / "lvlmsal", followlinks=True)
        for name in names
        if "__pycache__" not in folder and (name.endswith(".py") or Path(name).suffix in DATA)
    }


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"lvlmsal", "lvlmsal-0.1.0.dist-info"}
    assert {name for name in names if name.startswith("lvlmsal/")} == tree()
    assert "lvlmsal-0.1.0.dist-info/licenses/LICENSE" in names
    assert {"lvlmsal/py.typed", "lvlmsal/registry/checkpoints/llava-1.5-7b.yaml"} <= names


def test_the_wheel_stays_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 30e6


def test_the_installed_wheel_works_away_from_the_tree(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(target), str(wheel)], check=True)
    # Before the editable installation on the path, so it is the wheel that is imported.
    environment = {**os.environ, "PYTHONPATH": str(target)}
    use = [sys.executable, "-c", USE, str(target)]
    subprocess.run(use, check=True, cwd=tmp_path, env=environment)
