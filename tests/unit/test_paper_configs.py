"""The configs of the paper's tables: they fit the library, and quote the paper as it is."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.evaluation import evaluate
from lvlmsal.evaluation.config.paper import PaperRow
from lvlmsal.evaluation.config.plan import read_draft
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.config.source import packaged_configs
from lvlmsal.registry import CATALOG
from tests.tiers import in_full

pytestmark = pytest.mark.slow

NAMES = [name for name in packaged_configs() if name.startswith("paper/")]
POPE = ("pope/random", "pope/popular", "pope/adversarial")

# alpha, beta -> CHAIR_S, CHAIR_I, POPE F1, POPE accuracy
TABLE_3 = {
    "llava-1.5-7b": {
        ("0", "0"): (48.0, 13.9, 85.4, 84.0),
        ("0", "0.15"): (38.4, 10.2, 86.9, 87.3),
        ("0.6", "0"): (36.5, 9.0, 86.9, 87.4),
        ("0.6", "0.15"): (35.6, 8.2, 87.0, 87.5),
        ("0.6", "1.0"): (50.2, 20.9, 60.3, 57.8),
    },
    "qwen2-vl-7b": {
        ("0", "0"): (25.0, 7.3, 86.6, 87.6),
        ("0", "0.20"): (23.5, 6.8, 87.5, 88.2),
        ("0.6", "0"): (20.5, 5.6, 87.9, 88.9),
        ("0.6", "0.20"): (19.3, 5.1, 88.0, 89.0),
        ("0.6", "1.0"): (37.5, 18.5, 55.3, 54.6),
    },
}
# decay -> CHAIR_S
TABLE_6 = {"1.0": 35.6, "0.8": 37.9, "0.6": 42.1, "0.4": 47.8, "0.2": 56.0}


@pytest.mark.parametrize("name", in_full(NAMES, but="paper/table6-llava-1.5-7b"))
def test_a_dry_run_finds_no_problem(name: str) -> None:
    config, problems, _ = read_config(name, ["data.root=nowhere"])
    assert problems == []
    found = evaluate(name, dry_run=True)
    assert found.notes == ()
    assert set(found.models) <= set(CATALOG.names())
    ways = {(model.name, method.name) for model in config.models for method in config.methods}
    labels = {entry.benchmark for entry in found.tried}
    assert len(labels) == len(config.benchmarks)
    tried = {(entry.model, entry.method, entry.benchmark) for entry in found.tried}
    assert {(*way, label) for way, label in product(ways, labels)} <= tried
    assert not Path(config.output).exists()


def test_each_has_an_output_of_its_own() -> None:
    outputs = [read_config(name, ["data.root=nowhere"])[0].output for name in NAMES]
    assert outputs == [f"runs/{name}" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_the_docs_list_it(name: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "paper.md"
    assert f"`{name}`" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("model", TABLE_3)
def test_table_3_is_quoted_as_it_is(model: str) -> None:
    plan, rows = _open(f"paper/table3-{model}")
    quoted = set()
    for row in rows:
        alpha, beta = (text.split()[1] for text in row.row.split(", "))
        chair_s, chair_i, f1, accuracy = TABLE_3[model][alpha, beta]
        if row.benchmarks == ["chair"]:
            assert row.figures == {"chair_s": chair_s, "chair_i": chair_i}
        else:
            assert tuple(row.benchmarks) == POPE
            assert row.figures == {"f1": f1, "accuracy": accuracy}
        quoted.add((alpha, beta, tuple(row.benchmarks)))
        decoder, edits = plan[row.method]
        if decoder.name == "sgrs":
            assert (decoder.alpha if decoder.rejection else 0) == float(alpha)
        else:
            assert (decoder.name, alpha) == ("greedy", "0")
        assert sum(edit.beta for edit in edits) == float(beta)
    assert len(quoted) == 2 * len(TABLE_3[model])


def test_table_6_is_quoted_as_it_is() -> None:
    plan, rows = _open("paper/table6-llava-1.5-7b")
    assert {row.row.removeprefix("decay "): row.figures for row in rows} == {
        decay: {"chair_s": value} for decay, value in TABLE_6.items()
    }
    for row in rows:
        decoder, edits = plan[row.method]
        assert (decoder.name, decoder.alpha, decoder.rejection) == ("sgrs", 0.6, True)
        gain = 1.0
        for edit in edits:
            gain *= 1 + edit.beta
        assert gain == pytest.approx(1.15 * float(row.row.removeprefix("decay ")))


def test_no_other_figures_are_quoted() -> None:
    quoting = {n for n in NAMES if read_config(n, ["data.root=nowhere"])[0].paper is not None}
    assert quoting == {*(f"paper/table3-{model}" for model in TABLE_3), "paper/table6-llava-1.5-7b"}


def _open(name: str) -> tuple[dict[str, tuple[Any, list[Any]]], list[PaperRow]]:
    """Decoder and interventions of each method, and the quoted rows."""
    draft = read_draft(name, ["data.root=nowhere"])
    assert draft.problems == []
    assert draft.config.paper is not None
    methods = {cell.method: (cell.decoder, list(cell.interventions)) for cell in draft.plan().cells}
    return methods, draft.config.paper.rows
