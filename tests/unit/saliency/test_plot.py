"""Colors of figures: the one scale of pages and terminals, and what a bar says of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lvlmsal.colors import color
from lvlmsal.saliency.plot import UNSEEN, add_color_bar, color_map

PACKAGE = Path(__file__).parents[3] / "lvlmsal"


def test_figures_have_the_scale_of_pages() -> None:
    shares = np.linspace(0, 1, 49)
    found = color_map()(shares)[:, :3] * 255
    # matplotlib rounds shares to 256 steps
    np.testing.assert_allclose(found, [color(share) for share in shares], atol=2)
    assert color_map()(np.nan) == to_rgba(UNSEEN)


def test_no_figure_has_another_scale() -> None:
    """But for photographs in gray, and for differences, which have two ends."""
    sources = [path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))]
    named = {name for text in sources for name in re.findall(r"cmap=\"(\w+)\"", text)}
    assert named == {"gray", "RdBu_r"}
    # a picture without one would have matplotlib's own; those of images are in color already
    calls = [call for text in sources for call in re.findall(r"\.imshow\((.*?)\)\n", text, re.S)]
    assert len(calls) > 5
    assert {call for call in calls if "cmap" not in call} == {"report.images[image]"}


def test_a_bar_says_what_the_colors_mean() -> None:
    figure = Figure()
    panel = figure.subplots()
    add_color_bar(figure, [panel], "saliency", lowest=0.5, largest=2.0)
    _, bar = figure.axes
    assert bar.get_ylabel() == "saliency"
    assert bar.get_ylim() == (0.5, 2.0)
