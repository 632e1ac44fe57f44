"""A benchmark is one folder, which nothing else of the benchmarks looks into."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

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
    # but for the package itself, which offers the built-in ones by name
    files = {*HOME.glob("*.py"), *(HOME / "answers").glob("*.py")} - {HOME / "__init__.py"}
    for file in files:
        assert imported(file) <= SHARED, file
