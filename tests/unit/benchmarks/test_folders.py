"""A benchmark is one folder, which nothing else of the benchmarks looks into."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from lvlmsal.registry import BENCHMARKS, METRICS, SCORERS

HOME = Path(__file__).parents[3] / "lvlmsal/benchmarks"
FOLDERS = sorted(path.parent.name for path in HOME.glob("*/benchmark.py"))
SHARED = {"answers", "base", "sample", "scorer", "subsets", "video"}


def imported(file: Path) -> set[str]:
    """Which parts of the benchmarks a file imports."""
    prefix = "lvlmsal.benchmarks."
    return {
        node.module.removeprefix(prefix).partition(".")[0]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(prefix)
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_benchmark_uses_its_own_folder_and_what_all_share(folder: str) -> None:
    for file in (HOME / folder).glob("*.py"):
        assert imported(file) <= {folder, *SHARED}, file


def test_what_all_share_knows_no_benchmark() -> None:
    files = [*HOME.glob("*.py"), *(HOME / "answers").glob("*.py")]
    for file in files:
        assert imported(file) <= SHARED, file


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_offers_what_it_registers(folder: str) -> None:
    package = importlib.import_module(f"lvlmsal.benchmarks.{folder}")
    registered = {
        found.__name__: found
        for registry in (BENCHMARKS, METRICS, SCORERS)
        for found in map(registry.get, registry.names())
        if found.__module__.startswith(f"{package.__name__}.")
    }
    assert {name: getattr(package, name) for name in package.__all__} == registered


def test_a_name_imports_no_more_than_its_module() -> None:
    code = (
        "import sys\n"
        "from lvlmsal.benchmarks.pope import PopeMetric\n"
        "prefix = 'lvlmsal.benchmarks.pope.'\n"
        "print(sorted(n.removeprefix(prefix) for n in sys.modules if n.startswith(prefix)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['counts', 'metric']"
