"""Plots and tables of a sweep: they show the numbers that they are given."""

from __future__ import annotations

from typing import Any

import pytest

from lvlmsal.colors import color
from lvlmsal.sweeps.axes import Grid, Point
from lvlmsal.sweeps.costs import Cost
from lvlmsal.sweeps.plot import plot_grid
from lvlmsal.sweeps.table import Measured, tables
from lvlmsal.tables.markdown import markdown_document

pytest.importorskip("matplotlib")
import numpy as np

pytestmark = pytest.mark.slow

RESULTS: dict[str, Any] = {"baseline": "greedy", "warnings": [], "cells": []}


def entry(model: str, method: str, value: float | None, ms: float) -> Measured:
    figure = {
        "value": value,
        "low": None if value is None else value - 0.1,
        "high": None if value is None else value + 0.2,
        "difference": None,
        "higher_is_better": True,
    }
    cell = {
        "model": model,
        "method": method,
        "benchmark": "b",
        "metric": "own",
        "figures": {"score": figure},
    }
    cost = Cost(ms, ms / 2, ms * 2, 4, None, None)
    return Measured(cell, cost, {})


def of_model(model: str, values: dict[str, float | None]) -> list[Measured]:
    return [entry(model, name, v, 10.0 + i) for i, (name, v) in enumerate(values.items())]


def test_one_axis_is_a_line_for_each_model() -> None:
    grid = Grid(("sgrs.k",), tuple(Point((k,), f"k{k}") for k in (2, 4, 9)))
    measured = [
        *of_model("one", {"greedy": 0.5, "k2": 0.6, "k4": None, "k9": 0.4}),
        *of_model("two", {"greedy": 0.1, "k2": 0.2, "k4": 0.3, "k9": 0.2}),
    ]
    figure = plot_grid(grid, measured, RESULTS, start="k4")
    assert figure is not None
    score, time = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["score ↑", "ms/token in batches of 4"]
    assert [text.get_text() for text in score.get_xticklabels()] == ["2", "4", "9"]
    for container, heights in zip(
        score.containers, ([0.6, np.nan, 0.4], [0.2, 0.3, 0.2]), strict=True
    ):
        line, _, (bars,) = container.lines
        np.testing.assert_allclose(np.array(line.get_ydata(), dtype=float), heights)
        reach = bars.get_segments()[0][:, 1]
        np.testing.assert_allclose(reach, [heights[0] - 0.1, heights[0] + 0.2])
    dashed = [line.get_ydata()[0] for line in score.lines if line.get_linestyle() == "--"]
    assert dashed == [0.5, 0.1]
    assert list(time.containers[0].lines[0].get_ydata()) == [11.0, 12.0, 13.0]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["one", "two", "greedy", "k4, unchanged"]


def test_names_on_an_axis_are_not_joined_by_a_line() -> None:
    grid = Grid(("a.b",), tuple(Point((k,), k) for k in ("x", "y")))
    figure = plot_grid(grid, of_model("m", {"greedy": 0.1, "x": 1, "y": 2}), RESULTS, start="")
    assert figure is not None
    assert figure.axes[0].containers[0].lines[0].get_linestyle() == "None"


def test_two_axes_are_a_heat_map_for_each_model() -> None:
    points = tuple(Point((a, b), f"{a}{b}") for a in (0, 1) for b in ("x", "y", "z"))
    grid = Grid(("a.one", "b.two"), points)
    values: dict[str, Any] = {"greedy": 0.0, **{p.method: i / 10 for i, p in enumerate(points)}}
    figure = plot_grid(grid, [*of_model("m", values), *of_model("n", values)], RESULTS, start="0x")
    assert figure is not None
    maps = [axes for axes in figure.axes if axes.images]
    bars = [axes for axes in figure.axes if not axes.images]
    assert [len(maps), len(bars)] == [4, 4]
    assert {bar.get_ylabel() for bar in bars} == {"score ↑", "ms/token in batches of 4"}
    for axes in maps[::2]:
        np.testing.assert_allclose(axes.images[0].get_array(), [[0, 0.1, 0.2], [0.3, 0.4, 0.5]])
        assert [text.get_text() for text in axes.texts] == ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
        assert "(greedy: 0)" in axes.get_title()
        # the scale of every page, from its darkest to its palest color
        ends = axes.images[0].cmap([0.0, 1.0])[:, :3] * 255
        np.testing.assert_allclose(ends, [color(0), color(1)])


def test_three_axes_are_left_to_the_tables() -> None:
    grid = Grid(("a.a", "a.b", "a.c"), (Point((1, 2, 3), "p"),))
    measured = of_model("m", {"greedy": 0.1, "p": 0.2})
    assert plot_grid(grid, measured, RESULTS, start="") is None
    text = markdown_document(tables(measured, [grid], RESULTS), [])
    assert "| a.a by a.b by a.c | 1, 2, 3 | 0.2 " in text


def test_a_point_of_two_grids_stands_in_both() -> None:
    grids = [Grid((axis,), (Point((1,), "start"),)) for axis in ("a.x", "a.y")]
    measured = of_model("m|1", {"greedy": 0.1, "start": 0.2})
    text = markdown_document(tables(measured, grids, RESULTS), [])
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| ")]
    assert rows[2:] == [["| ", "greedy"], ["| a.x", "1"], ["| a.y", "1"]]
    assert "### m\\|1: b" in text
