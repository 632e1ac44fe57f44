"""Whole sweeps on a tiny random model: what they hold, resuming, adding points, the commands."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from lvlmsal.cli import main
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation import evaluate
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.sweeps import SweepResult, sweep
from tests.printed import assert_holds

pytestmark = pytest.mark.slow

pytest.importorskip("matplotlib")

Config = dict[str, Any]
Start = Callable[..., SweepResult]


@pytest.fixture
def swept(config: Config) -> Config:
    """A sweep of three points, one of which lies on both grids, on captions only."""
    config["methods"] = ["greedy"]
    config["benchmarks"] = [config["benchmarks"][1]]
    config["sweep"] = {
        "method": {
            "decoder": {"name": "sgrs", "layers": [1], "plausibility": 0.0},
            "interventions": ["locore"],
        },
        "grids": [
            {"sgrs.alpha": [0.6, 5.0]},
            {"sgrs.alpha": [5.0], "locore.beta": [0.15, 2.0]},
        ],
    }
    return config


@pytest.fixture
def run(tiny: Lvlm) -> Start:
    def start(config: Config, *overrides: str, model: Any = tiny, **options: Any) -> SweepResult:
        return sweep(config, overrides, models={"tiny": model}, **options)

    return start


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of records and tables: drawing takes longer than the answers."""
    monkeypatch.setattr("lvlmsal.sweeps.run.plot_grid", lambda *_, **__: None)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def answers(folder: Path) -> dict[str, Any]:
    lines = (folder / "records.jsonl").read_text().splitlines()
    return {(record := json.loads(line))["key"]: record["token_ids"] for line in lines}


def test_a_point_is_what_the_same_method_alone_would_be(
    swept: Config, run: Start, tiny: Lvlm, tmp_path: Path
) -> None:
    found = run(swept)
    start = swept.pop("sweep")["method"]
    alone = evaluate(
        {
            **swept,
            "output": str(tmp_path / "alone"),
            "methods": [
                "greedy",
                {**start, "name": "start"},
                {**start, "name": "high", "decoder": {**start["decoder"], "alpha": 5.0}},
                {
                    "name": "both",
                    "decoder": {**start["decoder"], "alpha": 5.0},
                    "interventions": [{"name": "locore", "beta": 2.0}],
                },
            ],
        },
        models={"tiny": tiny},
    )
    names = {
        "greedy": ("greedy", "", ""),
        "start": ("sgrs + locore", "0.6", "0.15"),
        "high": ("sgrs.alpha=5", "5", "0.15"),
        "both": ("locore.beta=2, sgrs.alpha=5", "5", "2"),
    }
    by_method = {
        name: {row["figure"]: row for row in rows(found.folder) if row["method"] == method[0]}
        for name, method in names.items()
    }
    assert sum(map(len, by_method.values())) == len(rows(found.folder))
    for name, (_, alpha, beta) in names.items():
        cell = alone.cell("tiny", name, "chair")
        assert by_method[name].keys() == cell["figures"].keys()
        for figure, row in by_method[name].items():
            expected = cell["figures"][figure]
            assert (row["sgrs.alpha"], row["locore.beta"]) == (alpha, beta)
            assert row["value"] == ("" if expected["value"] is None else str(expected["value"]))
            assert row["low"] == ("" if expected["low"] is None else str(expected["low"]))
            assert row["n"] == "3"
            assert float(row["ms_per_token"]) > 0
            # greedy search records neither
            assert bool(row["tries_per_token"]) == bool(row["saliency"]) == (name != "greedy")
    assert [r["token_ids"] for r in found.result.records()] == [
        r["token_ids"] for r in alone.records()
    ]
    assert {path.name for path in found.folder.glob("sweep*")} == {
        "sweep.csv",
        "sweep.md",
        "sweep-sgrs-alpha.png",
        "sweep-sgrs-alpha-locore-beta.png",
    }
    for path in found.pictures:
        assert path.read_bytes()[:4] == b"\x89PNG"


class Stopped(BaseException):
    """Stands for a kill."""


class StoppingLvlm:
    """A model that is stopped before its n-th batch."""

    def __init__(self, lvlm: Lvlm, batches: int) -> None:
        self._lvlm, self._left = lvlm, batches

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lvlm, name)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        if not self._left:
            raise Stopped
        self._left -= 1
        return self._lvlm.generate(*args, **kwargs)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.usefixtures("no_pictures")
def test_a_sweep_shows_itself(swept: Config, run: Start) -> None:
    found = run(swept)
    for width in (80, 120):
        console = Console(width=width, file=io.StringIO(), record=True, color_system=None)
        console.print(found)
        assert_holds(console.export_text(), width)
    page = found._repr_html_()
    assert page.count("<table>") == 1
    assert "<html" not in page
    assert "greedy" in page
    assert "locore.beta" in page
    assert len(repr(found)) < 300


def test_a_stopped_sweep_goes_on(swept: Config, run: Start, tiny: Lvlm, tmp_path: Path) -> None:
    whole = run(swept, f"output={tmp_path / 'whole'}")
    with pytest.raises(Stopped):
        run(swept, model=StoppingLvlm(tiny, 3))
    records = Path(swept["output"]) / "records.jsonl"
    kept = records.read_bytes()
    assert 0 < len(kept.splitlines()) < len(answers(whole.folder))
    assert not (records.parent / "sweep.csv").exists()
    resumed = run(swept)
    assert records.read_bytes().startswith(kept)
    assert answers(resumed.folder) == answers(whole.folder)
    # a whole sweep needs no model
    assert run(swept, model=object()).rows() == resumed.rows()


@pytest.mark.usefixtures("no_pictures")
def test_points_can_be_added_but_not_changed(swept: Config, run: Start, tiny: Lvlm) -> None:
    folder = run(swept).folder
    before = (folder / "records.jsonl").read_text().splitlines()
    grids = swept["sweep"]["grids"]
    swept["sweep"]["grids"] = [{"sgrs.k": [2]}, grids[1], {"sgrs.alpha": [5.0, 0.6]}]
    run(swept)
    after = (folder / "records.jsonl").read_text().splitlines()
    assert set(before) < set(after)  # line by line as they were
    added = [json.loads(line)["method"] for line in set(after) - set(before)]
    assert added == ["sgrs.k=2"] * 3
    assert {row["method"] for row in rows(folder)} == {
        "greedy",
        "sgrs + locore",
        "sgrs.alpha=5",
        "locore.beta=2, sgrs.alpha=5",
        "sgrs.k=2",
    }
    swept["sweep"]["method"]["decoder"]["window"] = 2
    swept["sweep"]["grids"] = swept["sweep"]["grids"][1:]
    with pytest.raises(ConfigError) as caught:
        run(swept)
    for words in ("methods[sgrs.k=2]", "methods[sgrs.alpha=5].decoder.window", "another folder"):
        assert words in str(caught.value)
    assert (folder / "records.jsonl").read_text().splitlines() == after


@pytest.mark.usefixtures("no_pictures")
def test_every_answer_can_be_judged_by_one_measure(
    swept: Config, run: Start, tiny: Lvlm, shared_world: Path
) -> None:
    swept["sweep"] = {
        "method": {"name": "gain", "interventions": ["locore"]},
        "grids": [{"locore.beta": [0, -0.6]}],
        "diagnose": True,
    }
    found = run(swept, axes=["locore.beta"])
    images = {path.name: path for path in (shared_world / "images").iterdir()}
    for beta in (0, -0.6):
        values: list[float] = []
        for record in found.result.records():
            if record["method"] == f"locore.beta={beta}":
                report = tiny.diagnose(
                    images[record["images"][0]],
                    record["prompt"],
                    record["token_ids"],
                    interventions=[{"name": "locore", "beta": beta}],
                )
                values += [value for value in report.saliency if value is not None]
        assert values
        told = {r["saliency"] for r in rows(found.folder) if r["locore.beta"] == str(beta)}
        assert [float(value) for value in told] == [pytest.approx(statistics.fmean(values))]
    # what was found is kept: judging again would need the model
    assert run(swept, model=object()).rows() == found.rows()
    kept = json.loads((found.folder / "sweep_saliency.json").read_text())
    assert len(kept) == 3


@pytest.fixture
def command(
    capfd: pytest.CaptureFixture[str], swept: Config, tiny_folder: Path, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    swept["models"] = [{"source": str(tiny_folder), "name": "tiny"}]
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(swept, sort_keys=False))

    def start(*words: str) -> tuple[int, str, str]:
        code = main([str(path) if word == "CONFIG" else word for word in words])
        output = capfd.readouterr()
        assert "Traceback" not in output.err
        return code, output.out, output.err

    return start


def test_the_commands(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, err = command("sweep", "CONFIG", "benchmarks.chair.limit=1")
    assert code == 0, err
    for words in ("CHAIR_I", "tries/token", "ms/token", "sgrs.alpha by locore.beta", "sweep.csv"):
        assert words in out
    assert "S is read from the candidate row." in " ".join(out.split())
    code, out, err = command("analyze", "ablation", "CONFIG", "benchmarks.chair.limit=1")
    assert code == 0, err
    assert "no benchmark" in out
    code, _, err = command("analyze", "decay", "CONFIG")
    assert code == 2
    assert "sweep.yaml: sweep.grids: expected one over locore.beta" in err


def test_a_dry_run_of_a_sweep(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    # without data too, which a real run needs
    code, out, err = command("sweep", "CONFIG", "--dry-run", "data.root=nowhere")
    assert code == 0, err
    assert out.startswith("DRY RUN: random weights, nothing was measured, nothing was written")
    for method in ("greedy", "sgrs", "sgrs.alpha=5", "locore.beta=2, sgrs.alpha=5"):
        assert f"│ {method} " in out
    code, _, err = command("analyze", "decay", "CONFIG", "--dry-run")
    assert code == 2
    assert "sweep.yaml: sweep.grids: expected one over locore.beta" in err
    assert sorted(tmp_path.rglob("*")) == before


def test_published_figures_stand_below_a_sweep(swept: Config, run: Start) -> None:
    row = {"method": "sgrs.alpha=5", "benchmarks": ["chair"], "figures": {"chair_s": 35.6}}
    swept["paper"] = {"source": "arXiv 1", "table": "Table 9", "rows": [row]}
    found = run(swept)
    ours = found.result.value("tiny", "sgrs.alpha=5", "chair", "chair_s")
    assert ours is not None
    line = f"| sgrs.alpha=5 | chair | chair_s % | 35.6 | {100 * ours:.1f} |"
    assert line in (found.folder / "sweep.md").read_text(encoding="utf-8")
    assert "Compared with Table 9 of arXiv 1" in found._repr_html_()


def test_a_bad_sweep_is_a_message(command: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = command("sweep", "CONFIG", "sweep.grids.0[sgrs.alfa]=[1]", "sede=1")
    assert code == 2
    for words in ("sweep.yaml: 2 problems", "Did you mean 'alpha'", "Did you mean 'seed'"):
        assert words in err
    code, _, err = command("evaluate", "CONFIG")
    assert code == 2
    assert "lvlmsal sweep CONFIG" in err
