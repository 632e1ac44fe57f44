"""What a config takes from the environment is in no file of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lvlmsal.evaluation import evaluate, score
from lvlmsal.model.lvlm import Lvlm

pytestmark = pytest.mark.slow

SECRET = "sk-9876543210-of-the-test"


def test_no_file_of_a_run_holds_the_value(
    tmp_path: Path, tiny: Lvlm, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEST_SECRET", SECRET)
    monkeypatch.setenv("TEST_LIMIT", "1")
    root = f"{tmp_path}/${{oc.env:TEST_SECRET}}"
    config = {
        "output": str(tmp_path / "run"),
        "models": [{"source": "${oc.env:TEST_SECRET}/llava", "name": "tiny"}],
        "methods": [
            "greedy",
            {"name": "early", "decoder": {"name": "sgrs", "layers": [1]}},
            {"name": "${oc.env:TEST_SECRET}", "decoder": "greedy"},
        ],
        "world": {"root": root, "images": 2},
        "benchmarks": [{"name": "pope", "limit": 1, "max_new_tokens": 2}],
        "max_failures": "${oc.env:TEST_LIMIT}",
        "judge": {"model": "m", "options": {"user": "${oc.env:TEST_SECRET}"}},
        "bootstrap": {"samples": 100},
        "logger": "csv",
    }
    first = evaluate(config, models={"tiny": tiny})
    said = capfd.readouterr()
    for file in tmp_path.joinpath("run").rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in said.out + said.err
    environment = json.loads((tmp_path / "run/environment.json").read_text())
    assert environment["models"]["tiny"]["source"] == "${oc.env:TEST_SECRET}/llava"
    again = evaluate(str(tmp_path / "run/config.yaml"), models={"tiny": tiny})
    assert "answers are there from an earlier run" in capfd.readouterr().err
    assert again.results == first.results == score(tmp_path / "run").results
