"""Charts of numbers: AUROC of each score, hallucination rate in ranges of a score, layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lvlmsal.analysis.mention_comparison import Comparison
from lvlmsal.analysis.panels import save
from lvlmsal.analysis.scores import SCORES
from lvlmsal.saliency.plot import CORRECT, HALLUCINATED, as_text, new_figure
from lvlmsal.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS: Final = "osD^vPX"


def plot_aurocs(
    found: Mapping[str, Sequence[Comparison]], path: Path | str | None = None
) -> Figure:
    """The AUROC of every score with its interval, a panel for each model and method.

    Args:
        found: Comparisons under the titles of their panels.
        path: Where to save it; the suffix chooses the format.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    intervals = {
        title: {SCORES[entry.score].heading: entry.auroc for entry in entries}
        for title, entries in found.items()
    }
    return plot_intervals(intervals, "AUROC: a correct mention above a hallucinated one", path)


def plot_intervals(
    found: Mapping[str, Mapping[str, Interval]], title: str, path: Path | str | None = None
) -> Figure:
    """AUROCs as points with their intervals, a panel for each entry, chance as a line.

    Args:
        found: Intervals by label, under the titles of their panels.
        title: Of the figure.
        path: Where to save it.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    rows = max((len(panel) for panel in found.values()), default=0)
    figure = new_figure(2.2 + 3.0 * len(found), 1.0 + 0.34 * rows)
    panels = figure.subplots(1, max(1, len(found)), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (name, intervals) in zip(panels, found.items(), strict=False):
        labels = list(intervals)
        for place, interval in enumerate(intervals.values()):
            axes.plot([interval.low, interval.high], [place, place], color="#777777", lw=2)
            axes.plot(interval.value, place, "o", color=CORRECT, ms=6)
            axes.annotate(
                f"{interval.value:.2f}",
                (interval.value, place),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
        axes.axvline(0.5, color="#aaaaaa", lw=1, ls="--")
        axes.set_yticks(range(len(labels)), labels, fontsize=8)
        axes.set_ylim(rows - 0.4, -0.7)
        axes.set_title(name, fontsize=9)
        _plain(axes)
    figure.suptitle(title, fontsize=10)
    return save(as_text(figure), path)


def plot_bins(
    found: Mapping[str, Sequence[Comparison]],
    path: Path | str | None = None,
    *,
    scores: Sequence[str] = ("saliency", "log_probability", "attention_image"),
) -> Figure:
    """Figure 10: distributions of scores, and the hallucination rate in their ranges.

    Args:
        found: Comparisons under the titles of their rows.
        path: Where to save it.
        scores: Which scores to show, two panels each.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    height = 2.6 * max(1, len(found)) + 0.5
    figure = new_figure(2.7 * 2 * len(scores), height)
    grid = figure.subplots(max(1, len(found)), 2 * len(scores), squeeze=False)
    for line, (title, entries) in zip(grid, found.items(), strict=False):
        by_name = {entry.score: entry for entry in entries}
        for column, name in enumerate(scores):
            left, right = line[2 * column], line[2 * column + 1]
            _distributions(left, by_name[name])
            _rates(right, by_name[name])
            for axes in (left, right):
                axes.set_xlabel(SCORES[name].label, fontsize=8)
                _plain(axes)
        line[0].annotate(
            title,
            (0, 1),
            xytext=(0, 14),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=9,
            weight="bold",
        )
    if grid[0][0].get_legend_handles_labels()[0]:
        grid[0][0].legend(fontsize=7, frameon=False)
    return save(as_text(figure), path)


def plot_layers(
    found: Mapping[str, Mapping[str, Mapping[int, Interval]]], path: Path | str | None = None
) -> Figure:
    """AUROC of each layer alone, a line a quantity, a panel for each model and method.

    Args:
        found: Intervals by layer, by quantity, under the titles of their panels.
        path: Where to save it.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    figure = new_figure(1.6 + 3.6 * max(1, len(found)), 3.2)
    panels = figure.subplots(1, max(1, len(found)), squeeze=False, sharey=True)[0]
    for axes, (title, quantities) in zip(panels, found.items(), strict=False):
        for number, (name, layers) in enumerate(quantities.items()):
            # side by side, so that intervals of the same layer do not cover each other
            shift = 0.08 * (number - (len(quantities) - 1) / 2)
            places = [layer + shift for layer in layers]
            values = [interval.value for interval in layers.values()]
            bounds = [
                [max(0.0, i.value - i.low) for i in layers.values()],
                [max(0.0, i.high - i.value) for i in layers.values()],
            ]
            axes.errorbar(
                places,
                values,
                yerr=bounds,
                color=_LINES[number % len(_LINES)],
                marker=_MARKERS[number % len(_MARKERS)],
                ms=4,
                lw=1,
                elinewidth=0.7,
                label=name,
            )
        axes.axhline(0.5, color="#aaaaaa", lw=1, ls="--")
        known = sorted({layer for layers in quantities.values() for layer in layers})
        axes.set_xticks(known if len(known) <= 16 else known[:: len(known) // 8])
        axes.set_xlabel("layer", fontsize=8)
        axes.set_title(title, fontsize=9)
        _plain(axes)
    panels[0].set_ylabel("AUROC", fontsize=8)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    return save(as_text(figure), path)


def _distributions(axes: Axes, entry: Comparison) -> None:
    """Histograms of both kinds, each of area one, over the ranges that the rates have."""
    edges = [entry.bins[0].low, *(part.high for part in entry.bins)] if entry.bins else [0.0, 1.0]
    kinds = {
        "correct": (entry.correct, CORRECT),
        "hallucinated": (entry.hallucinated, HALLUCINATED),
    }
    for kind, (values, color) in kinds.items():
        if values and edges[-1] > edges[0]:
            axes.hist(values, edges, density=True, histtype="step", color=color, label=kind, lw=1.5)
    axes.set_yticks([])
    axes.set_ylabel("density", fontsize=8)


def _rates(axes: Axes, entry: Comparison) -> None:
    for part in entry.bins:
        if part.rate.n:
            middle = (part.low + part.high) / 2
            width = 0.9 * (part.high - part.low)
            axes.bar(middle, part.rate.value, width=width, color="#bbbbbb")
            axes.plot([middle, middle], [part.rate.low, part.rate.high], color="black", lw=1)
            axes.annotate(str(part.rate.n), (middle, 1.01), ha="center", fontsize=5.5)
    axes.set_ylim(0, 1.06)
    axes.set_ylabel("hallucination rate", fontsize=8)


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
