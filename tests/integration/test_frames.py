"""A run as frames of pandas and in a notebook."""

from __future__ import annotations

from typing import Any

import pytest

from lvlmsal import compare
from lvlmsal.errors import UnknownName
from lvlmsal.evaluation import Result, read_result

pytestmark = pytest.mark.slow

CELL = {"model": "object", "method": "object", "benchmark": "object", "seed": "Int64"}


def types(frame: Any) -> dict[str, str]:
    return {name: str(kind) for name, kind in frame.dtypes.items()}


def test_scores_are_those_of_the_results(finished: Result) -> None:
    frame = finished.to_pandas()
    assert types(frame) == {
        **CELL,
        "metric": "object",
        "n": "int64",
        "failed": "int64",
        "figure": "object",
        "value": "float64",
        "low": "float64",
        "high": "float64",
        "interval": "object",
        "higher_is_better": "object",
        "against": "object",
        "difference": "float64",
        "difference_low": "float64",
        "difference_high": "float64",
        "significant": "boolean",
        "mcnemar_p": "float64",
        "changed": "Int64",
        "tokens_changed": "Int64",
    }
    cells = finished.results["cells"]
    assert len(frame) == sum(len(cell["figures"]) for cell in cells)
    for cell in cells:
        for name, figure in cell["figures"].items():
            chosen = frame[(frame.figure == name) & (frame.seed == cell["seed"])]
            for key in ("model", "method", "benchmark"):
                chosen = chosen[chosen[key] == cell[key]]
            (row,) = chosen.itertuples()
            wanted = float("nan") if figure["value"] is None else figure["value"]
            assert row.value == pytest.approx(wanted, nan_ok=True)
            assert row.against == cell["compared_with"]
    assert finished.to_pandas().equals(read_result(finished.folder).to_pandas())


def test_records_and_tokens(finished: Result) -> None:
    records = finished.records()
    frame = finished.to_pandas("records")
    assert frame.answer.tolist() == [record["answer"] for record in records]
    assert {**types(frame)}.items() >= {**CELL, "new_tokens": "Int64", "seconds": "float64"}.items()
    known = {name for record in records for name in record}
    assert set(frame.columns) == known - {"tokens"} | {"seed"}
    assert frame.seed.tolist() == [0] * len(records)
    tokens = finished.to_pandas("tokens")
    assert len(tokens) == sum(record["new_tokens"] for record in records)
    guided = tokens[tokens.method == "sgrs"]
    assert guided.probability.notna().all()
    assert tokens[tokens.method == "greedy"].saliency.isna().all()
    with pytest.raises(UnknownName, match=r"unknown level of a frame 'score'\. Did you mean"):
        finished.to_pandas("score")  # type: ignore[arg-type]


def test_results_and_comparisons_show_themselves(finished: Result) -> None:
    shown = finished._repr_html_()
    assert "<table>" in shown
    assert "greedy" in shown
    assert "<html" not in shown
    assert len(repr(finished)) < 300
    assert "greedy, sgrs" in repr(finished)
    found = compare([finished.folder])
    assert "<table>" in found._repr_html_()
    assert len(repr(found)) < 200
