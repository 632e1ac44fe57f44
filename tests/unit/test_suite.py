"""The tests' own house: what holds in every worker, the tiers, and the list of skips."""

from __future__ import annotations

import ast
import os
import re
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from tests.tiers import in_full

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
FILES = [ROOT / "conftest.py", *sorted((ROOT / "tests").rglob("*.py"))]


def test_there_is_no_network_here() -> None:
    with pytest.raises(RuntimeError, match=r"tried to reach '192\.0\.2\.1'"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_examples_and_sums_are_the_same_everywhere() -> None:
    assert hypothesis.settings().deadline is None
    assert hypothesis.settings().derandomize is ("CI" in os.environ)
    assert torch.get_num_threads() == 1


def test_every_tier_is_declared_explained_and_run() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    tiers = {marker.partition(":")[0] for marker in options["markers"]}
    assert tiers == set(re.findall(r"-m 'not (\w+)'", (ROOT / "Makefile").read_text()))
    assert tiers == set(re.findall(r"`pytest\.mark\.(\w+)`", PAGE))
    assert "make test-full" in (ROOT / ".ci" / "run").read_text()


def test_one_value_stays_in_the_everyday_tier() -> None:
    found = in_full([("a", 1), ("b", 2)], but=("b", 2))
    assert [(p.values, [mark.name for mark in p.marks]) for p in found] == [
        (("a", 1), ["full"]),
        (("b", 2), []),
    ]
    with pytest.raises(AssertionError, match="not all of"):
        in_full(["a", "b"], but="c")


def marked(path: Path) -> bool:
    """Whether all tests of a file have a mark."""
    body = ast.parse(path.read_text()).body
    given = [ast.unparse(node) for node in body if isinstance(node, ast.Assign)]
    return any(re.match(r"pytestmark = .*mark\.(slow|full)", line) for line in given)


def test_whole_runs_are_not_in_the_fast_tier() -> None:
    found = [p for part in ("integration", "conformance") for p in ROOT.glob(f"tests/{part}/**/*")]
    files = [path for path in found if path.match("test_*.py")]
    assert len(files) > 20
    assert [path.name for path in files if not marked(path)] == []


def skips(path: Path) -> Iterator[tuple[str, str]]:
    """Name of the file and reason of each place where a test may be skipped, or may fail."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).removeprefix("pytest.").removeprefix("mark.")
        if name not in ("skip", "skipif", "xfail", "importorskip"):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        reason = given.get("reason", node.args[0])
        text = reason.value if isinstance(reason, ast.Constant) else ast.unparse(reason)
        if name == "importorskip" and "reason" not in given:
            text = f"needs {text}"
        yield str(path.relative_to(ROOT)), str(text)


def test_the_page_lists_every_skip_with_its_reason() -> None:
    section = PAGE.partition("\n## Skips")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w./]+)` \| (.*?) \| .+ \|$", section, flags=re.M)
    found = {entry for path in FILES if path != Path(__file__) for entry in skips(path)}
    assert sorted(rows) == sorted(found)
