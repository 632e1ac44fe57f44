"""Dry runs from the command line, and published figures in a whole run's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.evaluation import evaluate, score
from lvlmsal.model.lvlm import Lvlm

pytestmark = pytest.mark.slow

PAPER = {
    "source": "arXiv 1",
    "table": "Table 9",
    "rows": [
        {
            "method": "greedy",
            "row": "baseline",
            "benchmarks": ["pope/random"],
            "figures": {"accuracy": 84.0},
        },
        {"method": "sgrs", "benchmarks": ["chair"], "figures": {"length": 9}, "unit": "plain"},
    ],
}


def test_a_dry_run_from_the_command_line(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, _ = run("evaluate", "paper/table5", "--dry-run")
    assert code == 0
    assert output.startswith("DRY RUN: random weights, nothing was measured, nothing was written")
    assert "run folder" not in output
    code, _, errors = run(
        "evaluate", "paper/table5", "--dry-run", "paper.tokens.0.benchmarks=[pope]"
    )
    assert code == 2
    assert "paper.tokens[0]: there is no benchmark 'pope'. Known: chair" in errors
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_an_interpolation_needs_is_asked_for(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = run("evaluate", "paper/table5")
    assert code == 2
    assert "data.root: needs a value; add data.root=..." in errors


def test_published_figures_stand_beside_ours(config: dict[str, Any], tiny: Lvlm) -> None:
    plain = evaluate(config, models={"tiny": tiny})
    quoted = evaluate({**config, "paper": PAPER}, models={"tiny": tiny})
    entries = quoted.results["paper"]
    accuracy = plain.value("tiny", "greedy", "pope/random", "accuracy")
    length = plain.value("tiny", "sgrs", "chair", "length")
    assert accuracy is not None
    assert [entry["ours"] for entry in entries] == [100 * accuracy, length]
    assert entries[0]["difference"] == pytest.approx(100 * accuracy - 84)
    assert plain.results["paper"] == []
    # nothing else changes
    assert {**quoted.results, "paper": []} == plain.results
    saved = json.loads((quoted.folder / "results.json").read_text(encoding="utf-8"))
    assert saved["paper"] == entries
    for name in ("results.md", "report.html"):
        text = (quoted.folder / name).read_text(encoding="utf-8")
        assert "Compared with Table 9 of arXiv 1" in text
    assert "Compared with Table 9 of arXiv 1" in str(quoted)
    assert score(quoted.folder).results["paper"] == entries
