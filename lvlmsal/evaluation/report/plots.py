"""Plots of a report as SVG: figures with their intervals, and differences with theirs."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len

from lvlmsal.escaping import visible
from lvlmsal.evaluation.report.entries import (
    columns_by_metric,
    heading_of,
    name_of,
    shown_cells,
)
from lvlmsal.evaluation.results.schema import Entry, Results
from lvlmsal.metrics.columns import Column
from lvlmsal.progress import track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_PLOTS = "The plots were left out: they need matplotlib, pip install 'lvlmsal[plot]'."
"""What a report says in place of plots where there is no matplotlib."""

_CHARACTERS = 40
_MOST = 4
_PANEL, _GAP = 3.2, 0.4  # inches
_PLAIN, _SIGNIFICANT = "#0072b2", "#d55e00"


class Plot(NamedTuple):
    """The plots of one model and benchmark.

    Attributes:
        title: Names of both.
        source: An SVG file as a ``data:`` address.
    """

    title: str
    source: str


class Bar(NamedTuple):
    """A value with its bounds, under its label; None where it is undefined or unknown.

    Attributes:
        label: What stands next to it.
        value: The value.
        low: Lower bound.
        high: Upper bound.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None

    @property
    def is_significant(self) -> bool:
        """Whether its interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def plots(results: Results) -> list[Plot] | None:
    """The first figures of each model and benchmark, with their intervals and differences.

    Args:
        results: The content of ``results.json``.

    Returns:
        One plot for each model and benchmark; None where matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        return None
    from matplotlib import rc_context

    blocks: dict[tuple[str, str], list[Entry]] = {}
    for entry in shown_cells(results):
        blocks.setdefault((entry["model"], entry["benchmark"]), []).append(entry)
    made = []
    with (
        rc_context(
            {
                "font.family": "sans-serif",
                "font.sans-serif": "DejaVu Sans",
                "font.size": 8,
                "savefig.facecolor": "none",  # a page in the dark shows them on its own ground
                "svg.fonttype": "none",  # words stay words
                "svg.hashsalt": "lvlmsal",  # the same file for the same figures
                "text.parse_math": False,  # a dollar sign of a name starts no mathematics
            }
        ),
        warnings.catch_warnings(),
    ):
        # a browser has fonts for letters that matplotlib's own font lacks
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        for (model, benchmark), entries in track(blocks.items(), "plots"):
            columns = [
                column
                for found in columns_by_metric(entries[0]["metric"], entries)
                for column in [c for c in found if not c.bare][:_MOST]
            ]
            if columns:
                source = _address(block_figure(entries, columns))
                made.append(Plot(f"{model}: {benchmark}", source))
    return made


def _address(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}"


def block_figure(entries: Sequence[Entry], columns: Sequence[Column]) -> Figure:
    """A line of panels for each figure: its values, and its differences where there are any.

    Args:
        entries: Those of one model and benchmark.
        columns: The figures.
    """
    names = [_label(name_of(entry)) for entry in entries]
    others = [
        _label(f"against {e['compared_with']}" if e["compared_with"] else "") for e in entries
    ]
    compared = any(others)
    figure, panels = _panels(len(columns), names, others if compared else None)
    for column, line in zip(columns, panels, strict=True):
        scale = 100 if column.percent else 1
        found = [entry["figures"][column.figure] for entry in entries]
        title = " ".join(heading_of(column, entries).parts)
        draw_bars(line[0], title, [_bar(*pair, scale) for pair in zip(names, found, strict=True)])
        if compared:
            unit = " %" if column.percent else ""
            differences = [
                _bar(label, {"value": None, **(one["difference"] or {})}, scale)
                for label, one in zip(others, found, strict=True)
            ]
            draw_bars(line[1], f"Δ {column.title}{unit}", differences, zero=True)
    return figure


def _panels(count: int, left: Sequence[str], right: Sequence[str] | None) -> tuple[Figure, Any]:
    """An empty figure with one or two panels a line, and room for the labels next to them.

    The room is estimated: matplotlib measures texts by drawing everything twice.
    """
    from matplotlib.figure import Figure

    before, after = (0.2 + 0.07 * max(map(cell_len, texts or [""])) for texts in (left, right))
    width = before + after + _PANEL * (2 if right else 1) + (_GAP if right else 0)
    line = 0.25 * len(left)
    height = count * (line + 0.55) + 0.1
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(
        count,
        2 if right else 1,
        squeeze=False,
        gridspec_kw={
            "left": before / width,
            "right": 1 - after / width,
            "top": 1 - 0.3 / height,
            "bottom": 0.3 / height,
            "wspace": _GAP / _PANEL,
            "hspace": 0.55 / line,
        },
    )
    return figure, panels


def _bar(label: str, found: Mapping[str, Any], scale: float) -> Bar:
    value, low, high = (
        None if found.get(key) is None else found[key] * scale for key in ("value", "low", "high")
    )
    return Bar(label, value, low, high)


def draw_bars(axes: Axes, title: str, bars: Sequence[Bar], *, zero: bool = False) -> None:
    """Points with intervals, one line a bar from the top down.

    Args:
        axes: Where to draw.
        title: What stands above.
        bars: The values; those without a label are left out.
        zero: These are differences: draw a line at zero, in another color what is significant, and
            the labels to the right.
    """
    known = [(place, bar, bar.value) for place, bar in enumerate(bars) if bar.value is not None]
    colors = [_SIGNIFICANT if zero and bar.is_significant else _PLAIN for _, bar, _ in known]
    axes.scatter([value for *_, value in known], [place for place, *_ in known], 20, colors)
    for (place, bar, _), color in zip(known, colors, strict=True):
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [place, place], color=color, marker="|", linewidth=1.5)
    for place, bar in enumerate(bars):
        if bar.value is None and bar.label:
            axes.text(0.02, place, "undefined", va="center", transform=axes.get_yaxis_transform())
    if zero:
        axes.axvline(0, color="#555555", linewidth=0.8, zorder=0)
        axes.yaxis.tick_right()
    axes.set_title(visible(title), fontsize=9, loc="left", fontweight="bold")
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_frame_on(False)


def _label(label: str) -> str:
    text = visible(label)
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"
