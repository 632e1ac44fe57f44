"""Maps of whole answers: layer by layer, magnified, and under two interventions.

They work on the report of any model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from lvlmsal.analysis.panels import draw_triangle, save, token_title
from lvlmsal.saliency.plot import FRAME, UNSEEN, Labels, add_color_bar, name_ticks, new_figure
from lvlmsal.saliency.report import Quantity, SaliencyReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T")

_COLUMNS = 8
_ROW_SCALE = "share of the row's largest value"
_QUANTITIES: tuple[Quantity, ...] = ("attention", "saliency")


def plot_layer_grid(report: SaliencyReport, path: Path | str | None = None) -> Figure:
    """Figures 13 and 14: what each token draws from the answer before it, layer by layer.

    The upper block is attention, the lower one saliency. Rows and columns of each panel are the
    answer's tokens; each row has its own scale.

    Args:
        report: Of an answer, best with all layers: ``diagnose(..., options=SaliencyOptions(
            layers=None))``.
        path: Where to save it; the suffix chooses the format.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    columns = min(_COLUMNS, len(report.layers))
    lines = math.ceil(len(report.layers) / columns)
    figure = new_figure(2.2 * columns + 0.6, 2 * (2.0 * lines + 0.4))
    everything = range(len(report.tokens))
    for block, of in zip(figure.subfigures(2, 1, squeeze=False).flat, _QUANTITIES, strict=True):
        block.suptitle(of, fontsize=9)
        panels = list(block.subplots(lines, columns, squeeze=False).flat)
        for axes in panels:
            axes.set_axis_off()
        for axes, layer in zip(panels, report.layers, strict=False):
            axes.set_axis_on()
            values = report.token_map(of=of, layer=layer)
            draw_triangle(axes, values, rows=everything, columns=everything)
            axes.set_title(f"layer {layer}", fontsize=8)
            axes.tick_params(labelsize=8)
        add_color_bar(block, panels, _ROW_SCALE)
    return save(figure, path)


def plot_answer(
    report: SaliencyReport,
    tokens: Sequence[int],
    path: Path | str | None = None,
    *,
    labels: Labels | None = None,
    window: int = 10,
) -> Figure:
    """Figure 12: the map of a whole answer, with a magnified view of chosen tokens.

    Args:
        report: Of the answer.
        tokens: Indices of the tokens to magnify.
        path: Where to save it.
        labels: Of the answer's tokens, to color the names of objects.
        window: How many tokens before a chosen one its view shows.

    Raises:
        IndexError: The answer has no such token, or nothing stands before it.
        UnsupportedError: matplotlib is not installed.
    """
    count = len(report.tokens)
    wrong = [token for token in tokens if not 0 < token < count]
    if wrong or not tokens:
        raise IndexError(f"tokens {list(tokens)}: expected some from 1 to {count - 1}")
    values = report.token_map()
    height = max(4.0, 2.9 * len(tokens))
    figure = new_figure(height + 6.0, height + 0.3)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[height, 5.2]).flat
    whole = left.subplots()
    draw_triangle(whole, values, rows=range(count), columns=range(count))
    whole.set_title(f"saliency of {count} tokens", fontsize=9)
    add_color_bar(left, [whole], _ROW_SCALE)
    _name_objects(whole, report, labels)
    for token, axes in zip(tokens, right.subplots(len(tokens), 1, squeeze=False).flat, strict=True):
        start = max(0, token - window)
        rows, columns = range(max(1, token - 3), token + 1), range(start, token)
        draw_triangle(axes, values, rows=rows, columns=columns)
        axes.set_xticks(list(columns))
        axes.set_yticks(list(rows))
        known = labels or [None] * count
        name_ticks(axes, _part(report.tokens, columns), _part(known, columns))
        name_ticks(axes, _part(report.tokens, rows), _part(known, rows), vertical=True)
        axes.set_title(token_title(report, token, labels), fontsize=8)
        box = (columns.start - 0.5, rows.start - 0.5)
        _frame(whole, box, len(columns), len(rows))
    return save(figure, path)


def plot_interventions(
    reports: Mapping[str, SaliencyReport],
    path: Path | str | None = None,
    *,
    labels: Labels | None = None,
) -> Figure:
    """Figure 3: the same answer judged under two interventions, such as none and LocoRE.

    Above, the map of the answer under each, on one scale that ends where all but the brightest
    1 % of the values lie, and their difference, second minus first; below, S(c) of every token.

    Args:
        reports: Two reports of the same tokens, under the names that the picture shows.
        path: Where to save it.
        labels: Of the answer's tokens.

    Raises:
        ValueError: There are not two reports, or they are of different answers.
        UnsupportedError: matplotlib is not installed.
    """
    if len(reports) != 2:
        raise ValueError(f"expected two reports to compare, got {len(reports)}")
    (first_name, first), (second_name, second) = reports.items()
    if first.token_ids != second.token_ids:
        raise ValueError(
            f"the reports are of different answers: {first.text!r} and {second.text!r}; give one "
            "answer to both: lvlm.diagnose(image, prompt, report.token_ids, interventions=...)"
        )
    everything = range(len(first.tokens))
    maps = [report.token_map() for report in (first, second)]
    seen = torch.ones_like(maps[0]).tril(-1).bool()
    largest = max(float(torch.cat([values[seen] for values in maps]).quantile(0.99)), 1e-12)
    figure = new_figure(14, 7.2)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[1.35, 1]).flat
    panels = above.subplots(1, 3)
    for axes, name, values in zip(panels, reports, maps, strict=False):
        draw_triangle(axes, values, largest=largest, rows=everything, columns=everything)
        axes.set_title(f"saliency, {name}", fontsize=9)
        _name_objects(axes, first, labels, columns=False)
    change = maps[1] - maps[0]
    bound = float(change[seen].abs().max())
    add_color_bar(above, panels[:2], "saliency", largest=largest)
    # a difference has two ends and a middle; red and blue differ with any color blindness
    shown = panels[2].imshow(
        change.masked_fill(~seen, torch.nan).numpy(),
        cmap="RdBu_r",
        vmin=-bound,
        vmax=bound,
        interpolation="nearest",
        aspect="auto",
    )
    panels[2].set_facecolor(UNSEEN)
    panels[2].tick_params(labelsize=8)
    panels[2].set_title(f"{second_name} - {first_name}", fontsize=9)
    bar = above.colorbar(shown, ax=panels[2], pad=0.01, aspect=25)
    bar.set_label("difference of saliency", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    axes = below.subplots()
    for name, report, color in ((first_name, first, "#777777"), (second_name, second, "#009e73")):
        heights = [torch.nan if value is None else value for value in report.saliency]
        axes.plot(everything, heights, marker="o", ms=3, lw=1, color=color, label=name)
    axes.set_xticks(everything)
    name_ticks(axes, first.tokens, labels or [None] * len(first.tokens), size=8)
    axes.set_ylabel("S(c)", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.legend(fontsize=8, frameon=False)
    return save(figure, path)


def _name_objects(
    axes: Axes, report: SaliencyReport, labels: Labels | None, *, columns: bool = True
) -> None:
    """Ticks at the names of objects alone: an answer has more tokens than a map has room for."""
    places = [index for index, label in enumerate(labels or []) if label is not None]
    if not labels or not places:
        axes.tick_params(labelsize=8)
        return
    names, kinds = [report.tokens[i] for i in places], [labels[i] for i in places]
    axes.set_yticks(places)
    name_ticks(axes, names, kinds, vertical=True)
    axes.set_xticks(places if columns else [])
    if columns:
        name_ticks(axes, names, kinds)


def _frame(axes: Axes, corner: tuple[float, float], width: float, height: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=FRAME, lw=1.4))


def _part(items: Sequence[T], places: range) -> list[T]:
    return [items[place] for place in places]
