"""The configs of the paper's tables: they fit the library, and quote what docs/paper.md prints."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.analysis.printed import printed_figures
from lvlmsal.evaluation.config.paper import PaperConfig, PaperRow
from lvlmsal.evaluation.config.plan import Draft, read_draft
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.config.source import packaged_configs
from lvlmsal.evaluation.run.dry import dry_run
from lvlmsal.registry import CATALOG
from lvlmsal.sweeps import dry_sweep
from lvlmsal.sweeps.reading import spread
from lvlmsal.sweeps.stated import read_stated
from tests.packaged import SWEEPS
from tests.tiers import in_full

pytestmark = pytest.mark.slow

NAMES = [name for name in packaged_configs() if name.startswith("paper/")]
PAGE = (Path(__file__).parents[2] / "docs" / "paper.md").read_text(encoding="utf-8")
NOWHERE = ["data.root=nowhere"]
POPE = ("pope/random", "pope/popular", "pope/adversarial")
MEAN = "mean of POPE"
# The figures that the columns of docs/paper.md hold, behind those that name the row.
CHAIR = [("chair", "chair_s"), ("chair", "chair_i")]
F1 = [(MEAN, "f1"), (MEAN, "accuracy")]
COLUMNS: dict[str, list[tuple[str, str] | None]] = {
    "Table 1": [
        *F1,
        *CHAIR,
        ("chair", "recall"),
        ("chair", "length"),
        *(("mme", f"score/{task}") for task in ("existence", "count", "position", "color")),
        None,
    ],
    "Table 2": [
        ("llava-bench", "ratio"),
        ("mm-vet", "total"),
        ("vizwiz/val", "accuracy"),
        ("scienceqa/test-image", "accuracy"),
        *CHAIR,
        None,
        *F1,
    ],
    "Table 3": [*CHAIR, *F1],
    "Table 5": [
        ("chair", f"saliency_last/{kind}_{figure}")
        for kind in ("correct", "hallucinated")
        for figure in ("mean", "sd")
    ],
    "Table 6": [("chair", "chair_s"), *F1],
}
TABLE_2 = {
    "LLaVA-1.5-7B": "llava-1.5-7b",
    "LLaVA-1.5-13B": "llava-1.5-13b",
    "Intern-VL-7B": "internvl2.5-8b-mpo",
    "Intern-VL-13B": "internvl3-14b",
    "Qwen2-VL-7B": "qwen2-vl-7b",
    "Qwen2.5-VL-7B": "qwen2.5-vl-7b",
    "Qwen2.5-VL-32B": "qwen2.5-vl-32b",
}
TABLE_3 = {"LLaVA-1.5-7B": "llava-1.5-7b", "Qwen2-VL-7B": "qwen2-vl-7b"}

Figures = dict[tuple[str, str], float]
"""Values by benchmark and figure."""
Methods = dict[tuple[str, str], tuple[Any, list[Any]]]
"""Decoder and interventions by model and method."""


@pytest.mark.parametrize("name", in_full(NAMES, but="paper/table5"))
def test_a_dry_run_finds_no_problem(name: str) -> None:
    config = draft_of(name).config
    found = dry_sweep(name) if name in SWEEPS else dry_run(name)
    # what random weights lack is a sink; what is asked outside of the model has a stand-in
    stand_ins = [
        f"a stand-in takes the place of its {what} here" for what in ("evidence", "scorer")
    ]
    known = ("vissink", *stand_ins)
    assert all(any(words in note.casefold() for words in known) for note in found.notes)
    assert set(found.models) <= set(CATALOG.names())
    ways = {(model.name, method.name) for model in config.models for method in config.methods}
    labels = {entry.benchmark for entry in found.tried}
    assert len(labels) == len(config.benchmarks)
    tried = {(entry.model, entry.method, entry.benchmark) for entry in found.tried}
    assert {(*way, label) for way, label in product(ways, labels)} <= tried
    assert not Path(config.output).exists()


def test_each_has_an_output_of_its_own() -> None:
    assert [read_config(name, NOWHERE)[0].output for name in NAMES] == [
        f"runs/{name}" for name in NAMES
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_docs_list_it(name: str) -> None:
    assert f"| `{name}` |" in PAGE


def test_table_1_is_quoted_as_the_docs_have_it() -> None:
    printed = {
        (row, method): figures_of("Table 1", figures)
        for row, here, *figures in lines_of("Table 1")
        for method in in_code(here)
    }
    assert quoted_by(opened("paper/table1-llava-1.5-7b")[0].rows) == printed


@pytest.mark.parametrize("model", in_full(TABLE_2, but="LLaVA-1.5-7B"))
def test_table_2_is_quoted_as_the_docs_have_it(model: str) -> None:
    paper, _ = opened(f"paper/table2-{TABLE_2[model]}")
    assert paper.table == f"Table 2, {model}" + " (another model)" * model.startswith("Intern")
    assert quoted_by(paper.rows) == {
        (row, method): figures_of("Table 2", figures)
        for of_model, row, here, *figures in lines_of("Table 2")
        for method in in_code(here)
        if of_model == model
    }


@pytest.mark.parametrize("model", TABLE_3)
def test_table_3_is_quoted_as_the_docs_have_it(model: str) -> None:
    paper, methods = opened(f"paper/table3-{TABLE_3[model]}")
    quoted = quoted_by(paper.rows)
    apart = quoted.pop(("alpha 0.9, beta 0.15 (text on latency)", "alpha 0.9, beta 0.15"), None)
    assert apart == ({("chair", "chair_s"): 30.0} if model == "LLaVA-1.5-7B" else None)
    assert quoted == {
        (f"alpha {alpha}, beta {beta}", method): figures_of("Table 3", figures)
        for of_model, alpha, beta, here, *figures in lines_of("Table 3")
        for method in in_code(here)
        if of_model == model
    }
    for row, method in quoted:
        assert settings_of(row) == doses_of(*methods[TABLE_3[model], method])


@pytest.mark.parametrize("name", ["pope", "chair"])
def test_both_readings_of_the_row_stand_next_to_table_3(name: str) -> None:
    paper, methods = opened(f"paper/{name}")
    printed = {
        (TABLE_3[model], float(alpha), float(beta)): figures_of("Table 3", figures)
        for model, alpha, beta, _, *figures in lines_of("Table 3")
    }
    for row in paper.rows:
        doses = settings_of(row.row)
        assert doses == doses_of(*methods[row.model, row.method])
        (figures,) = quoted_by([row]).values()
        assert figures.items() <= printed[row.model, *doses].items()
    quoted = {(row.model, row.method) for row in paper.rows}
    beams = {way for way in methods if way[1].startswith("beam")}
    assert quoted == methods.keys() - beams


def test_table_5_is_quoted_as_the_docs_have_it() -> None:
    paper = printed_figures("paper/table5", NOWHERE)
    assert paper is not None
    assert {row.model: quoted_by([row]) for row in paper.tokens} == {
        model: {
            (name + " (another model)" * ("another" in here), "greedy"): (
                figures_of("Table 5", figures)
            )
        }
        for name, here, *figures in lines_of("Table 5")
        for model in in_code(here)
    }


def test_table_6_is_quoted_as_the_docs_have_it() -> None:
    paper, methods = opened("paper/table6-llava-1.5-7b")
    lines = [(gain, *in_code(here), *figures) for gain, here, *figures in lines_of("Table 6")]
    assert quoted_by(paper.rows) == {
        (f"r = {gain}", method): figures_of("Table 6", figures) for gain, method, *figures in lines
    }
    for gain, method, *_ in lines:
        alpha, beta = doses_of(*methods["llava-1.5-7b", method])
        assert alpha == 0.6
        assert 1 + beta == pytest.approx(1.15 * float(gain))


def lines_of(table: str) -> list[list[str]]:
    """The cells of the first table under a heading of docs/paper.md."""
    section = PAGE.split(f"\n## {table}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def in_code(cell: str) -> list[str]:
    return re.findall("`([^`]+)`", cell)


def figures_of(table: str, cells: list[str]) -> Figures:
    pairs = zip(COLUMNS[table], cells, strict=True)
    return {column: float(cell) for column, cell in pairs if column is not None and cell != "-"}


def quoted_by(rows: list[PaperRow]) -> dict[tuple[str, str], Figures]:
    """What rows of a config quote, by the paper's row and our method."""
    found: dict[tuple[str, str], Figures] = {}
    for row in rows:
        benchmark = MEAN if tuple(row.benchmarks) == POPE else ", ".join(row.benchmarks)
        for figure, value in row.figures.items():
            assert row.unit == ("plain" if "/" in figure or figure == "length" else "percent")
            cell = found.setdefault((row.row, row.method), {})
            assert (benchmark, figure) not in cell
            cell[benchmark, figure] = value
    return found


def settings_of(row: str) -> tuple[float, float]:
    """alpha and beta in the name of a row of Table 3."""
    alpha, beta = (float(text.split()[1]) for text in row.split(", "))
    return alpha, beta


def doses_of(decoder: Any, edits: list[Any]) -> tuple[float, float]:
    """alpha and beta with which a method answers; alpha is 0 where nothing is rejected."""
    assert {edit.name for edit in edits} <= {"locore"}
    rejects = decoder.name == "sgrs" and decoder.rejection
    return decoder.alpha if rejects else 0.0, sum(edit.beta for edit in edits)


def draft_of(name: str) -> Draft:
    if name in SWEEPS:
        content, _, problems = spread(read_stated(name, NOWHERE))
        draft = read_draft(content, found=problems)
    else:
        draft = read_draft(name, NOWHERE)
    assert draft.problems == []
    return draft


def opened(name: str) -> tuple[PaperConfig, Methods]:
    """What a config quotes, and its methods."""
    draft = draft_of(name)
    assert draft.config.paper is not None
    cells = draft.plan().cells
    return draft.config.paper, {
        (cell.model.name, cell.method): (cell.decoder, list(cell.interventions)) for cell in cells
    }


def test_another_checkpoint_in_table_1_has_a_name_of_its_own() -> None:
    stated = re.findall(r"`(models\[llava-1\.5-7b\]\.\w+=[\w-]+)`", PAGE)
    config, problems, _ = read_config("paper/table1-llava-1.5-7b", [*NOWHERE, *stated])
    assert not problems
    assert [(model.source, model.name) for model in config.models] == [("FOLDER", "cca-llava")]
