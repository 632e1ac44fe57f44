"""docs/results.md, the types of records and results, and what is written: all three agree."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

import pytest

from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.errors import DataError
from lvlmsal.evaluation.config.paper import PaperConfig, PaperRow
from lvlmsal.evaluation.report.paper import compared_with_paper
from lvlmsal.evaluation.report.result import read_result
from lvlmsal.evaluation.results import schema
from lvlmsal.evaluation.results.belonging import Wanted, unfinished
from lvlmsal.evaluation.results.records import Record
from lvlmsal.evaluation.results.scoring import score_records
from tests.unit.evaluation.typed import keys_of, misfits

PAGE = Path(__file__).parents[3] / "docs" / "results.md"
SECTIONS = {
    "Record": Record,
    "Results": schema.Results,
    "Cell": schema.Cell,
    "Summary": schema.Summary,
    "Figure": schema.Figure,
    "Further metric": schema.FurtherMetric,
    "Bounds": schema.Bounds,
    "McNemar test": schema.McNemarTest,
    "Cost": schema.Cost,
    "Judge note": schema.JudgeNote,
    "Bootstrap": schema.Bootstrap,
    "Unfinished": schema.Unfinished,
    "Unfinished cell": schema.UnfinishedCell,
    "Paper entry": schema.PaperEntry,
}
TITLES = {kind: title for title, kind in SECTIONS.items()}
WORDS = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    NoneType: "null",
    Any: "anything",
}


def words(kind: Any) -> str:
    """How the page writes a type."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in TITLES:
        title = TITLES[kind]
        text = title if title.startswith("McNemar") else title.lower()
        return f"[{text}](#{title.lower().replace(' ', '-')})"
    if origin is UnionType:
        return " or ".join(map(words, parts))
    if origin is Literal:
        return " or ".join(f'"{part}"' for part in parts)
    if origin is list:
        return f"list of {words(parts[0])}"
    if origin is dict:
        return "object" if parts[1] is Any else f"object of {words(parts[1])}"
    return WORDS[kind]


def test_the_page_lists_every_key_with_its_type() -> None:
    sections = dict(re.findall(r"(?ms)^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text()))
    found = {
        title: dict(re.findall(r"(?m)^\| `(.*?)` \| (.*?) \| .+ \|$", text))
        for title, text in sections.items()
    }
    wanted = {
        title: {
            name + "?" * optional: words(hint) for name, (hint, optional) in keys_of(kind).items()
        }
        for title, kind in SECTIONS.items()
    }
    assert found == wanted


def record(method: str, seed: int, sample: int, answer: str | None) -> Record:
    return {
        "key": f"{method}{seed}/{sample}",
        "model": "m",
        "method": method,
        "benchmark": "pope",
        "sample_id": str(sample),
        "group": str(sample // 2),
        "images": [f"{sample // 2}.png"],
        "prompt": "Is there a dog?",
        "answer": answer,
        "target": ["yes", "no"][sample % 2],
        "status": "failed" if answer is None else "ok",
        "error": "",
        "new_tokens": 1,
        "token_ids": [sample],
        "seconds": 0.5,
        "seed": seed,
    }


def test_what_is_scored_has_the_types_of_the_page() -> None:
    records = [
        record(method, seed, sample, answer)
        for method in ("greedy", "other")
        for seed in (0, 1)
        for sample, answer in enumerate(["yes", "no", "no", None if seed else "yes"])
    ]
    assert [text for one in records for text in misfits(one, Record)] == []
    metrics = {"pope": PopeMetric()}
    rows = {("m", "other"): "predicting"}
    further = {"pope": {"llava": PopeMetric(parser="llava")}}
    results = score_records(
        records, metrics, baseline="greedy", samples=20, saliency_rows=rows, further=further
    )
    wanted = {"greedy0": Wanted("m", "greedy", "pope", 0, 9, None)}
    results["unfinished"] = unfinished({"greedy0/0": None}, wanted)
    paper = PaperConfig("a paper", "table 1", [PaperRow("greedy", ["pope"], {"accuracy": 80.0})])
    results["paper"] = compared_with_paper(paper, results)
    assert misfits(json.loads(json.dumps(results)), schema.Results) == []
    # every kind of entry was there
    assert len(results["over_seeds"]) == 2
    for entry in (*results["cells"], *results["over_seeds"]):
        (added,) = entry["metrics"]
        assert added["figures"][0] == "llava.accuracy"
        assert set(added["figures"]) < entry["figures"].keys()
    assert results["cells"][2]["mcnemar"] is not None
    assert results["cells"][2]["figures"]["accuracy"]["difference"] is not None
    assert results["unfinished"] is not None
    assert results["paper"][0]["ours"] is not None


def test_the_comparison_of_types_finds_faults() -> None:
    results: Any = score_records([record("a", 0, 0, "yes")], {"pope": PopeMetric()}, samples=2)
    results["cells"][0]["n"] = "one"
    results["cells"][0]["more"] = 1
    del results["paper"]
    assert misfits(results, schema.Results) == [
        "it.cells[0] has an unknown key 'more'",
        "it.cells[0].n is 'one'",
        "it lacks 'paper'",
    ]


def test_results_of_another_version(tmp_path: Path) -> None:
    results: Any = score_records([record("a", 0, 0, "yes")], {"pope": PopeMetric()}, samples=2)
    path = tmp_path / "results.json"
    older = {k: results[k] for k in ("baseline", "bootstrap", "cells", "over_seeds", "warnings")}
    path.write_text(json.dumps(older))
    found = read_result(tmp_path)
    assert found.value("m", "a", "pope", "accuracy") == 1
    assert found.unfinished is None
    assert found.markdown()
    path.write_text(json.dumps({**results, "schema_version": schema.SCHEMA_VERSION + 1}))
    with pytest.raises(DataError, match="has schema_version 2, and this lvlmsal reads up to 1"):
        read_result(tmp_path)
