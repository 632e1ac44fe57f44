"""The README's own lines, as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import lvlmsal
from tests.readme import PREPARED, README, blocks

pytestmark = pytest.mark.slow


def test_python_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    names: dict[str, Any] = {}
    assert len(blocks("python")) == 2
    for code in (PREPARED, *blocks("python")):
        exec(compile(code, "README.md", "exec"), names)
    assert "answer" in names


def test_the_config_runs_dry(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    config = {**yaml.safe_load(text), "output": str(tmp_path / "run")}
    told = str(lvlmsal.evaluate(config, dry_run=True))
    for name in ("locore", "vcd", "sgrs", "pope/adversarial", "chair"):
        assert name in told


def test_it_fits_three_screens() -> None:
    assert len(README.splitlines()) < 110
