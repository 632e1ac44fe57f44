"""Published figures next to a run's own: names, units, means, and nothing computed from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.paper import PaperConfig, PaperRow
from lvlmsal.evaluation.config.plan import make_plan
from lvlmsal.evaluation.report.paper import compared_with_paper, paper_table
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.tables.markdown import markdown_table


def cell(model: str, method: str, benchmark: str, **figures: float | None) -> dict[str, Any]:
    shown = {name: {"value": value} for name, value in figures.items()}
    return {"model": model, "method": method, "benchmark": benchmark, "figures": shown}


RESULTS = {
    "cells": [
        cell("m", "greedy", "pope/random", accuracy=0.9, f1=0.8),
        cell("m", "greedy", "pope/popular", accuracy=0.7, f1=None),
        cell("m", "greedy", "mme", perception=1500.0),
    ]
}


def paper(*rows: PaperRow) -> PaperConfig:
    return PaperConfig("arXiv 1", "Table 9", list(rows))


def test_a_percentage_is_compared_with_our_fraction() -> None:
    (entry,) = compared_with_paper(
        paper(PaperRow("greedy", ["pope/random"], {"accuracy": 84.0}, row="baseline")), RESULTS
    )
    assert entry["ours"] == pytest.approx(90.0)
    assert entry["difference"] == pytest.approx(6.0)
    assert (entry["paper"], entry["model"], entry["row"]) == (84.0, "m", "baseline")


def test_several_benchmarks_are_their_mean_and_plain_figures_keep_their_scale() -> None:
    found = compared_with_paper(
        paper(
            PaperRow("greedy", ["pope/random", "pope/popular"], {"accuracy": 84.0}),
            PaperRow("greedy", ["mme"], {"perception": 1510.0}, unit="plain"),
        ),
        RESULTS,
    )
    assert [entry["ours"] for entry in found] == [pytest.approx(80.0), 1500.0]
    assert [entry["difference"] for entry in found] == [pytest.approx(-4.0), -10.0]


@pytest.mark.parametrize(
    "row",
    [
        PaperRow("greedy", ["pope/random", "pope/popular"], {"f1": 80.0}),  # one is undefined
        PaperRow("greedy", ["pope/random", "pope/adversarial"], {"accuracy": 80.0}),  # one is open
        PaperRow("beam", ["pope/random"], {"accuracy": 80.0}),
    ],
)
def test_what_is_not_there_yet_is_no_figure(row: PaperRow) -> None:
    (entry,) = compared_with_paper(paper(row), RESULTS)
    assert entry["ours"] is None
    assert entry["difference"] is None
    json.dumps(entry, allow_nan=False)


def test_seeds_are_summed_up_before_they_are_compared() -> None:
    cells = [cell("m", "sgrs", "chair", chair_s=value) for value in (0.2, 0.4)]
    summary = cell("m", "sgrs", "chair", chair_s=0.3)
    results = {"cells": cells, "over_seeds": [summary]}
    (entry,) = compared_with_paper(paper(PaperRow("sgrs", ["chair"], {"chair_s": 36.5})), results)
    assert entry["ours"] == pytest.approx(30.0)


def test_tables_say_whose_figures_they_are() -> None:
    row = PaperRow("greedy", ["pope/random", "pope/popular"], {"accuracy": 84.0}, row="a|b")
    results = {**RESULTS, "paper": compared_with_paper(paper(row), RESULTS)}
    table = paper_table(results)
    assert table is not None
    text = markdown_table(table)
    line = next(line for line in text.splitlines() if "mean of" in line)
    assert "### Compared with Table 9 of arXiv 1" in text
    assert "| mean of pope/random, pope/popular | accuracy % | 84 | 80.0 | -4.0 | a\\|b |" in line
    assert "quoted from its text" in text
    assert paper_table(RESULTS) is None


@pytest.mark.parametrize(
    ("printed", "shown"),
    [(84.0, ("84", "80.1", "-3.9")), (184.66, ("184.66", "80.12", "-104.54"))],
)
def test_ours_has_as_many_decimals_as_the_paper_gives(
    printed: float, shown: tuple[str, ...]
) -> None:
    results = {"cells": [cell("m", "greedy", "mme", perception=80.123)]}
    row = PaperRow("greedy", ["mme"], {"perception": printed}, unit="plain")
    table = paper_table({**results, "paper": compared_with_paper(paper(row), results)})
    assert table is not None
    assert " | ".join(shown) in markdown_table(table)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("data") / "world", images=2, seed=0, shifted=True)


def make_config(output: Path, world: Path, **row: Any) -> dict[str, Any]:
    entry = {"method": "greedy", "benchmarks": ["pope/random"], "figures": {"f1": 80}, **row}
    return {
        "output": str(output),
        "models": ["llava-1.5-7b"],
        "methods": ["greedy"],
        "benchmarks": ["pope"],
        "data": {"root": str(world)},
        "paper": {"source": "arXiv 1", "table": "Table 9", "rows": [entry]},
    }


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"method": "greddy"}, r"rows\[0\]: there is no method 'greddy'. Did you mean 'greedy'"),
        ({"benchmarks": ["pope"]}, "there is no benchmark 'pope'. Known: pope/random"),
        ({"benchmarks": []}, "needs `benchmarks`"),
        ({"figures": {}}, "needs `benchmarks`"),
        ({"figures": {"F1": 80}}, "'pope/random' has no figure 'F1'. Did you mean 'f1'"),
        ({"figures": {"f1": "much"}}, "could not be converted to Float"),
        ({"figures": {"f1": float("nan")}}, r"not a number \(nan\)"),
        ({"unit": "pct"}, "there is no unit 'pct'"),
        ({"model": "llava"}, "there is no model 'llava'"),
        ({"color": "red"}, "there is no such key"),
    ],
)
def test_names_that_do_not_fit_are_problems_of_the_config(
    row: dict[str, Any], words: str, tmp_path: Path, world: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_plan(make_config(tmp_path / "run", world, **row))


def test_several_models_have_to_be_told_apart(tmp_path: Path, world: Path) -> None:
    config = make_config(tmp_path / "run", world)
    config["models"] = ["llava-1.5-7b", "qwen2-vl-7b"]
    with pytest.raises(ConfigError, match="needs a `model`, one of llava"):
        make_plan(config)
    config["paper"]["rows"][0]["model"] = "qwen2-vl-7b"
    make_plan(config)


def test_figures_on_tokens_may_stand_alone_and_fit_the_run_too(tmp_path: Path, world: Path) -> None:
    config = make_config(tmp_path / "run", world)
    config["paper"]["tokens"] = config["paper"].pop("rows")
    make_plan(config)
    config["paper"]["tokens"][0]["method"] = "greddy"
    with pytest.raises(ConfigError, match=r"paper\.tokens\[0\]: there is no method 'greddy'"):
        make_plan(config)
    config["paper"]["tokens"] = []
    with pytest.raises(ConfigError, match=r"paper\.rows: needs at least one entry"):
        make_plan(config)


def test_published_figures_change_no_record(tmp_path: Path, world: Path) -> None:
    config = make_config(tmp_path / "run", world)
    with_figures = [cell.digest for cell in make_plan(config).cells]
    del config["paper"]
    assert [cell.digest for cell in make_plan(config).cells] == with_figures
