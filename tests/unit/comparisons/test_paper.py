"""LaTeX for a paper: what is bold, what is a subscript, and that nothing breaks the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lvlmsal.comparisons.comparing import Comparison
from lvlmsal.comparisons.layout import Block
from lvlmsal.comparisons.pairs import Pair
from lvlmsal.comparisons.reading import Row
from lvlmsal.errors import ConfigError, UnknownName
from tests.printed import read_latex


def figure(
    value: float | None, difference: tuple[float, float, float] | None = None, **changed: Any
) -> dict[str, Any]:
    bounds = dict(zip(("value", "low", "high"), difference, strict=True)) if difference else None
    return {
        "value": value,
        "low": None,
        "high": None,
        "interval": "bootstrap",
        "higher_is_better": True,
        "difference": bounds,
        **changed,
    }


def row(
    method: str,
    figures: dict[str, Any],
    against: str | None = None,
    *,
    metric: str = "chair",
    benchmark: str = "chair",
    model: str = "llava",
    run: str = "a",
    **changed: Any,
) -> Row:
    entry = {
        "model": model,
        "method": method,
        "benchmark": benchmark,
        "metric": metric,
        "n": 2,
        "failed": 0,
        "compared_with": against,
        "decoder_differs": None,
        "changed": None,
        "tokens_changed": None,
        "mcnemar": None,
        "figures": figures,
        "cost": {"ms_per_token": None},
        **changed,
    }
    source: Any = SimpleNamespace(unfinished=None)
    cells: Any = (SimpleNamespace(seed=0),)
    asked: Any = {"1": None, "2": None}
    return Row(run, source, model, method, benchmark, cells, asked, {}, cast(Any, entry))


def paper(*blocks: Block, notes: tuple[str, ...] = ()) -> str:
    return Comparison({"a": Path("a")}, blocks, notes).write("latex", "paper")


def chair(c_s: float, c_i: float, **differences: tuple[float, float, float]) -> dict[str, Any]:
    lower = {"higher_is_better": False}
    return {
        "chair_s": figure(c_s, differences.get("s"), **lower),
        "chair_i": figure(c_i, differences.get("i"), **lower),
        "length": figure(50.04, differences.get("length"), higher_is_better=None),
    }


def test_a_table_as_it_goes_into_a_paper() -> None:
    vcd = chair(0.3, 0.051, s=(-0.2, -0.3, -0.1), i=(0.001, -0.1, 0.1), length=(10.5, -1, 22))
    text = paper(
        Block("chair", (row("greedy", chair(0.5, 0.05)), row("vcd_x", vcd, "greedy")), ()),
        notes=("Not alike:\n100 % \\end{table}",),
    )
    assert text.splitlines()[0].startswith(r"% Needs \usepackage{booktabs}.")
    assert text.splitlines()[-1] == r"% Not alike: 100 % \end{table}"
    (found,) = read_latex(text)
    assert found.label == "tab:chair"
    assert found.shape == "lrrr"
    assert found.rows == [
        [
            "Method",
            r"CHAIR$_{\mathrm{S}}$ $\downarrow$",
            r"CHAIR$_{\mathrm{I}}$ $\downarrow$",
            "Length",
        ],
        [],
        # less is better; a value that prints the same as the best is bold as well
        [
            "greedy",
            r"50.0$_{\phantom{-20.0}}$",
            r"\textbf{5.0}$_{\phantom{+0.1}}$",
            r"50.0$_{\phantom{+10.5}}$",
        ],
        [r"vcd\_x", r"\textbf{30.0}$_{-20.0}^{*}$", r"5.1$_{+0.1}$", r"50.0$_{+10.5}$"],
    ]
    assert found.caption == (
        r"chair (2 samples), with llava. In \%: CHAIR\_S, CHAIR\_I. Bold: the best of each group. "
        r"Subscripts: paired difference, sample by sample, to greedy. Asterisk: the 95 \% interval "
        r"of the difference, which resamples images, excludes 0."
    )


def pope(value: float | None, **changed: Any) -> dict[str, Any]:
    return {"accuracy": figure(value, **changed)}


def accuracies(*rows: Row) -> list[str]:
    (found,) = read_latex(paper(Block(rows[0].benchmark, rows, ())))
    return [cells[-1] for cells in found.rows[1:] if cells]


def test_the_best_is_bold_where_one_is_better() -> None:
    def of(*values: float | None) -> list[str]:
        return accuracies(*(row(f"m{i}", pope(v), metric="pope") for i, v in enumerate(values)))

    assert of(0.5, 0.75, 0.25) == ["50.0", r"\textbf{75.0}", "25.0"]
    # as they are printed, these two are alike
    assert of(0.5, 0.7501, 0.75) == ["50.0", r"\textbf{75.0}", r"\textbf{75.0}"]
    assert of(0.5, 0.5) == ["50.0", "50.0"]
    assert of(0.5) == ["50.0"]
    assert of(None, 0.5, 0.25) == ["--", r"\textbf{50.0}", "25.0"]
    assert of(None, None) == ["--", "--"]
    no_better = (row(str(v), pope(v, higher_is_better=None), metric="pope") for v in (0.5, 0.6))
    assert accuracies(*no_better) == ["50.0", "60.0"]


def test_subscripts_are_as_wide_as_the_widest_of_their_column() -> None:
    values = [
        row("greedy", pope(0.5), metric="pope"),
        row("a", pope(0.6, difference=(0.1, -0.1, 0.3)), "greedy", metric="pope"),
        row("b", pope(0.45, difference=(-0.05, -0.06, -0.04)), "greedy", metric="pope"),
    ]
    assert accuracies(*values) == [
        r"50.0$_{\phantom{+10.0}}$",
        r"\textbf{60.0}$_{+10.0}$",
        r"45.0$_{-5.0\phantom{0}}^{*}$",
    ]


def test_benchmarks_of_a_metric_share_a_table_and_each_model_has_its_best() -> None:
    blocks = []
    for split in ("pope/random", "pope/popular"):
        rows = tuple(
            row(method, pope(value), metric="pope", benchmark=split, model=model)
            for model, method, value in (
                ("x", "m", 0.5),
                ("x", "n", 0.6),
                ("y", "m", 0.8),
                ("y", "n", 0.7),
            )
        )
        blocks.append(Block(split, rows, ()))
    (found,) = read_latex(paper(*blocks))
    assert found.rows[0] == ["Benchmark", "Model", "Method", r"Accuracy $\uparrow$"]
    assert found.rows[2:8] == [
        ["pope/random", "x", "m", "50.0"],
        ["", "", "n", r"\textbf{60.0}"],
        [],
        ["pope/random", "y", "m", r"\textbf{80.0}"],
        ["", "", "n", "70.0"],
        [],
    ]
    assert found.rows[8][0] == "pope/popular"
    assert found.caption.startswith(r"pope/random, pope/popular (2 samples each). Values in \%.")


def test_models_under_one_method_are_compared_with_each_other() -> None:
    rows = [row("m", pope(v), metric="pope", model=m) for m, v in (("x", 0.5), ("y", 0.6))]
    assert accuracies(*rows) == ["50.0", r"\textbf{60.0}"]


def test_captions_say_what_values_do_not() -> None:
    difference = {"difference": (0.1, 0.05, 0.2)}
    rows = (
        row("greedy", pope(0.5), metric="pope", failed=1),
        row("sample", pope(0.5), metric="pope"),
        row("vcd", pope(0.6, std=0.01, **difference), "sample", metric="pope", seeds=[0, 1]),
        row("sgrs", pope(0.6, **difference), "greedy", metric="pope", decoder_differs=True),
    )
    (found,) = read_latex(paper(Block("pope", rows, ())))
    assert found.rows[4] == ["vcd (2 seeds)", r"\textbf{60.0}\,$\pm$\,1.0$_{+10.0}^{*}$"]
    assert (
        "to the control: sample for vcd; greedy for sgrs; with another decoder: sgrs."
        in found.caption
    )
    assert "1 of 2 answers failed (a: llava with greedy on chair)." in found.caption
    assert r"$\pm$: standard deviation over seeds" in found.caption
    source: Any = SimpleNamespace(unfinished={"answers": 1, "expected": 2, "cells": []})
    rows = (replace(rows[0], source=source), *rows[1:])
    (found,) = read_latex(paper(Block("pope", rows, ())))
    assert found.caption.endswith("The run a is unfinished.")


def test_pairs_have_a_table_of_their_own() -> None:
    first, second = (row("m", pope(v), metric="pope", run=r) for r, v in (("a", 0.5), ("b", 0.6)))
    bounds = {"value": 0.1, "low": 0.05, "high": 0.2}
    found: Any = {"pairs": 2, "differences": {"accuracy": bounds}, "changed": 1, "mcnemar": None}
    block = Block("pope", (first, second), (Pair(second, first, found),))
    values, pairs = read_latex(paper(block))
    assert [values.label, pairs.label] == ["tab:pope", "tab:pope-pairs"]
    assert pairs.rows[2] == ["b", "a", "$+10.0^{*}$", "1", "2"]


def test_labels_differ() -> None:
    blocks = [
        Block(name, (row("m", {"x": figure(0.5)}, metric=name, benchmark=name),), ())
        for name in ("a b", "a-b", "漢")
    ]
    labels = [found.label for found in read_latex(paper(*blocks))]
    assert labels == ["tab:a-b", "tab:a-b-2", "tab:results"]


NAMES = st.text(min_size=1, max_size=12)


@given(st.lists(NAMES, min_size=2, max_size=4, unique=True), NAMES, NAMES)
@example(["[x]", "*y", "a & b"], "m_1 {", "50 % \\\\")
def test_no_name_breaks_a_table(methods: list[str], model: str, name: str) -> None:
    rows = tuple(
        row(
            method,
            {name: figure(0.5), "f": figure(1.5, (0.1, 0.0, 0.2))},
            methods[0],
            metric=name,
            benchmark=name,
            model=model,
            run=methods[1],
        )
        for method in methods
    )
    (found,) = read_latex(paper(Block(name, rows, ()), notes=(name,)))
    assert len(found.rows) == 2 + len(methods)


def test_styles_belong_to_their_format() -> None:
    found = Comparison({}, (Block("chair", (row("greedy", chair(0.5, 0.05)),), ()),), ())
    assert found.write("latex") == found.write("latex", "plain")
    assert found.write("csv") == found.write("csv", "tidy")
    with pytest.raises(UnknownName, match="style of latex 'papers'"):
        found.write("latex", "papers")
    with pytest.raises(ConfigError, match="md has no style 'paper'; latex has plain, paper"):
        found.write("md", "paper")
    with pytest.raises(UnknownName, match="format 'pdf'"):
        found.write("pdf")
