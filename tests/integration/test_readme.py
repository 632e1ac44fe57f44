"""The README's own lines, as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import lvlmsal
from lvlmsal.pocket.scenes.world import write_world

pytestmark = pytest.mark.slow

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = write_world(tmp_path / "world", images=1, seed=7, shifted=True)
    (world / "images/SCENE_000000000001.png").rename(tmp_path / "scene.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    lvlm = lvlmsal.load("pocket-llava")
    inputs = lvlm.adapter.encode([["scene.png"]], ["Is there a star in the image?"])
    names = {"model": lvlm.model, "inputs": inputs}
    assert len(blocks("python")) == 2
    for code in blocks("python"):
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
