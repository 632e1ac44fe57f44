"""Plots of a report: they show the numbers that they are given, and the same ones each time."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from lvlmsal.evaluation.report.plots import Bar, draw_bars, plots

pytest.importorskip("matplotlib")
from matplotlib.colors import same_color
from matplotlib.figure import Figure

BARS = [
    Bar("a", 1.0, -0.5, 2.0),
    Bar("b", None, None, None),
    Bar("c", -3.0, -4.0, -2.0),
    Bar("d", 0.5, None, None),
]


def entry(method: str, value: float | None, other: str | None, name: str = "f$1") -> dict[str, Any]:
    bounds = {"value": value, "low": value, "high": value}
    figure = {**bounds, "higher_is_better": True, "difference": bounds if other else None}
    return {
        "model": "m <i>",
        "method": method,
        "benchmark": "b",
        "metric": "of nobody",
        "compared_with": other,
        "figures": {name: figure},
    }


def drawn(*, zero: bool) -> Any:
    axes = Figure().subplots()
    draw_bars(axes, "title", BARS, zero=zero)
    return axes


def test_points_and_intervals_stand_where_their_values_are() -> None:
    axes = drawn(zero=False)
    (points,) = axes.collections
    assert points.get_offsets().tolist() == [[1.0, 0.0], [-3.0, 2.0], [0.5, 3.0]]
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert lines == [([-0.5, 2.0], [0, 0]), ([-4.0, -2.0], [2, 2])]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "c", "d"]
    (word,) = axes.texts
    assert (word.get_text(), word.get_position()[1]) == ("undefined", 1)
    bottom, top = axes.get_ylim()
    assert bottom > top  # from the top down


def test_only_differences_whose_interval_excludes_zero_have_another_color() -> None:
    colors = drawn(zero=True).collections[0].get_facecolors()
    assert same_color(colors[0], colors[2])
    assert not same_color(colors[0], colors[1])
    plain = drawn(zero=False).collections[0].get_facecolors()
    assert len(plain) == 1 or same_color(plain[0], plain[1])


def test_a_plot_names_its_methods_as_text_and_is_the_same_each_time() -> None:
    names = ["greedy", "<script>x</script>", "$x^{$", "漢 & \x1b[31m"]
    cells = [entry(names[0], 0.5, None), *(entry(name, 0.25, names[0]) for name in names[1:])]
    found = plots({"cells": cells})
    assert found is not None
    ((title, source),) = found
    assert title == "m <i>: b"
    assert plots({"cells": cells}) == found
    content = base64.b64decode(source.removeprefix("data:image/svg+xml;base64,"))
    texts = [element.text for element in ET.fromstring(content).iter() if element.text]
    for name in (*names[:3], "漢 & \\u001b[31m", "against greedy", "f$1 ↑", "Δ f$1"):
        assert name in texts
    assert b"<script" not in content
    assert b"<dc:date" not in content


def test_what_is_undefined_is_drawn_too() -> None:
    assert plots({"cells": [entry("greedy", None, None)]}) is not None
