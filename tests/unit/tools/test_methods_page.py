"""What the page about methods says of a class, and how it counts differences."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import DataError
from lvlmsal.interventions.base import HiddenStateIntervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vcd import VCD
from lvlmsal.registry import DECODERS, INTERVENTIONS
from lvlmsal.tables.markdown import markdown_table
from lvlmsal.tables.table import NONE, Cell
from methods_page.differences import (
    Difference,
    chance_text,
    differences_tables,
    main_column,
    paired_differences,
    verdicts_table,
)
from methods_page.listing import (
    Known,
    known_methods,
    options_text,
    read_costs,
    traits_table,
)
from methods_page.pages import method_pages
from methods_page.published import published


def test_all_that_mitigates_is_known_and_nothing_else() -> None:
    found = {(method.kind, method.name) for method in known_methods()}
    assert {("intervention", "locore"), ("intervention", "vcd"), ("decoder", "sgrs")} <= found
    plain = {("decoder", name) for name in ("greedy", "sample", "beam")}
    assert not found & {*plain, ("intervention", "none")}
    # whatever else is registered has a line, too, without being named anywhere
    registered = {INTERVENTIONS.get(name).name for name in INTERVENTIONS}
    assert {name for kind, name in found if kind == "intervention"} == registered - {"none"}


def test_a_decoder_that_cannot_be_tried_is_not_taken_for_a_plain_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclass(frozen=True)
    class Demanding(Decoder):
        strength: float
        summary: ClassVar[str] = "needs a strength"
        name: ClassVar[str] = "demanding"

    names, get = DECODERS.names, DECODERS.get
    monkeypatch.setattr(DECODERS, "names", lambda: [*names(), "demanding"])
    monkeypatch.setattr(DECODERS, "get", lambda n: Demanding if n == "demanding" else get(n))
    assert ("decoder", "demanding") in {(m.kind, m.name) for m in known_methods()}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_table_says_what_the_classes_say() -> None:
    vcd, sgrs = Known("vcd", "intervention", VCD), Known("sgrs", "decoder", SGRS)
    head, _, line = markdown_table(traits_table(vcd)).split("\n")
    assert dict(zip(cells(head), cells(line), strict=True)) == {
        "kind": "intervention",
        "paper": "[Visual Contrastive Decoding (CVPR 2024)](https://arxiv.org/abs/2311.16922)",
        "acts on": "logits, second stream",
        "beams": "yes",
        "SGRS": "yes",
        "shared prefix": "yes",
        "second stream": "yes",
    }
    line = markdown_table(traits_table(sgrs)).split("\n")[2]
    assert cells(line) == ["decoder", f"[{SGRS.paper}]({SGRS.url})", "search", "-", "-", "yes", "-"]


def test_a_page_has_the_options_by_checkpoint_and_no_example() -> None:
    locore = Known("locore", "intervention", LocoRE)
    assert options_text(locore).startswith("Options: `beta=0.15, window=10, mode=")
    lines = [line for line in options_text(locore).split("\n") if line.startswith("- ")]
    assert any("`pocket-qwen2vl`" in line and line.endswith(": `beta=0.2`") for line in lines)
    page = method_pages()["methods/locore.md"]
    assert page.startswith(f"# locore: {LocoRE.summary}\n")
    assert "gain(q, j) = 1 + beta" in page
    assert ">>>" not in page

    @dataclass(frozen=True)
    class Bare(HiddenStateIntervention):
        summary: ClassVar[str] = "nothing"

    Bare.__doc__ = None
    assert Known("x", "intervention", Bare).description() == ""


def test_the_index_has_a_line_and_a_page_for_each_method() -> None:
    pages = method_pages()
    for method in known_methods():
        assert (
            f"| [`{method.name}`](methods/{method.name}.md) | {method.cls.summary} |"
            in (pages["methods.md"])
        )
        assert "It was not run." in pages[f"methods/{method.name}.md"]
    assert len(pages) == 1 + len(known_methods())


def test_what_the_paper_prints_stands_where_nothing_else_acts() -> None:
    tables = published({"vcd", "locore", "sgrs"})
    rows = [[cell.text for cell in row.cells] for row in tables["locore"].rows]
    printed = ["Table 1 of Zhang et al., ICLR 2026 (arXiv 2601.20279)", "llava-1.5-7b", "LocoRE"]
    pope = ["pope/random, pope/popular, pope/adversarial", "f1 86.9 %, accuracy 87.3 %"]
    # greedy and beam search stand for the same row of the paper: it is printed once
    assert rows.count([*printed, *pope]) == 1
    # SGRS + LocoRE are two methods
    assert "sgrs" not in tables or all(
        "LocoRE" not in row.cells[2].text for row in tables["sgrs"].rows
    )
    page = method_pages()["methods/vcd.md"]
    assert page.index("## What the paper prints") < page.index("| Table 1 of Zhang et al.")
    assert "none of it was run here" in page


def test_costs_are_read_by_kind_and_name(tmp_path: Path) -> None:
    path = tmp_path / "methods.json"
    row = ["same", "1.00", "3.0", "1.05", "1", "1.00"]
    content = {
        "text": "how",
        "command": "python",
        "machine": {"threads": "2"},
        "small": True,
        "sheets": [
            {"title": "interventions under greedy search", "rows": [row]},
            {"title": "decoders", "rows": [["same", "6.00", "9.0", "5.00", "6", "4.00"]]},
        ],
    }
    path.write_text(json.dumps(content))
    costs = read_costs(path)
    assert costs.of(Known("same", "intervention", VCD)) == ("1.00", "1.05", "1.00")
    assert costs.of(Known("same", "decoder", SGRS)) == ("6.00", "5.00", "4.00")
    pages = method_pages(costs=path, command="make it")
    page = pages["methods.md"]
    assert "they say nothing" in page
    assert "how Machine: threads 2." in " ".join(page.split())
    assert page.index("make it") < page.index("| method | what it does |")
    assert "methods/runs.md" not in pages
    for broken in ("{}", "[]", "nothing", '{"sheets": [{"title": "x", "rows": [[]]}]}'):
        path.write_text(broken)
        with pytest.raises(DataError, match=r"benchmarks/methods\.py"):
            read_costs(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_costs(tmp_path / "absent.json")


def cell(method: str, value: float | None, low: float, high: float, **other: Any) -> dict[str, Any]:
    """A cell of POPE (accuracy, better above) or of CHAIR (better below)."""
    metric = other.pop("metric", "pope")
    name, up = {"pope": ("accuracy", True), "chair": ("chair_s", False)}[metric]
    difference = None if value is None else {"value": value, "low": low, "high": high}
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "std": None, "higher_is_better": up}
    return {
        "model": "m",
        "method": method,
        "benchmark": metric,
        "metric": metric,
        "changed": None if value is None else 7,
        "compared_with": None if value is None else "control",
        "decoder_differs": False,
        "figures": {name: {**figure, "difference": difference}},
        **other,
    }


RESULTS = {
    "cells": [
        cell("control", None, 0, 0),
        cell("a", 0.10, 0.02, 0.2),
        cell("b", 0.10, -0.02, 0.2),
        cell("c", -0.10, -0.2, -0.05),
        cell("d", 0.0, 0.0, 0.0, changed=0),
        cell("control", None, 0, 0, metric="chair"),
        cell("a", 0.10, 0.02, 0.2, metric="chair"),
        cell("c", -0.10, -0.2, -0.05, metric="chair"),
    ],
}


def test_what_is_significant_counts_for_better_or_worse_by_the_figure() -> None:
    found = paired_differences(RESULTS)
    assert [(each.entry["method"], each.verdict) for each in found] == [
        ("a", "better"),
        ("b", "unclear"),
        ("c", "worse"),
        ("d", "same"),
        ("a", "worse"),
        ("c", "better"),
    ]
    assert found[0].cell == Cell("+10.0", "[+2.0, +20.0]", strong=True)
    assert found[1].cell == Cell("+10.0", "[-2.0, +20.0]")
    rows = [cells(line) for line in markdown_table(verdicts_table(found)).split("\n")[2:]]
    assert rows == [
        ["a", "1", "1", "0", "0"],
        ["b", "0", "0", "1", "0"],
        ["c", "1", "1", "0", "0"],
        ["d", "0", "0", "0", "1"],
    ]
    text = chance_text(found)
    assert "There are 6 differences." in text
    assert "In 1 of them no answer differs" in text
    assert "Of the other 5, 4 are significant (95 % CI excludes 0): 2 for the better" in text
    assert "and 2 for the worse" in text
    many = chance_text(found * 20)
    assert "about 5 of 100 cases by chance" in many


def test_a_difference_that_was_not_found_is_a_dash() -> None:
    found = paired_differences(RESULTS)
    (table,) = differences_tables(found)
    lines = markdown_table(table).split("\n")
    assert lines[0] == "### m"
    assert cells(lines[2]) == ["method", "against", "pope: Δ accuracy ↑ %", "chair: Δ CHAIR_S ↓ %"]
    assert cells(lines[5]) == ["b", "control", "+10.0 [-2.0, +20.0]", "-"]
    undefined = cell("e", 0.1, 0, 1)
    undefined["figures"]["accuracy"]["difference"] = None
    column = main_column([undefined])
    assert column is not None
    assert Difference(undefined, column).cell == NONE
    undefined["figures"]["accuracy"]["value"] = None
    assert main_column([undefined]) is None
