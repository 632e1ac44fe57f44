"""Pictures of a saliency report, drawn with matplotlib (the ``plot`` extra)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from lvlmsal.colors import RAMPS
from lvlmsal.errors import UnsupportedError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, FigureBase

    from lvlmsal.saliency.report import SaliencyReport

CORRECT: Final = "#0072b2"
HALLUCINATED: Final = "#d55e00"
"""Blue and vermilion of Okabe and Ito's palette, which color-blind people distinguish."""

MARK: Final = "▲"
"""What stands before a word that names an object that is not in the image, as in the explorer."""

UNSEEN: Final = "#e4e4e4"
"""Where a token cannot look."""

FRAME: Final = "#d9541e"
"""Lines and frames on a map: a color that the scale of saliency does not have."""

Labels = Sequence[bool | None]
"""For each token, whether it names an object that is not in the image; None: no object at all."""


def plot_report(
    report: SaliencyReport,
    path: str | os.PathLike[str] | None = None,
    *,
    labels: Labels | None = None,
) -> Figure:
    """Token by token: saliency and attention side by side, S(c) of each token, and the image.

    Rows of the two maps are the generated tokens, columns what they rest on. The first column is
    the images' share of the whole row; the others are the question and the answer so far, each row
    divided by its largest value there, so that rows can be compared by shape; what a token cannot
    see is gray. S(c) stands next to them in its own unit.

    Args:
        report: from :meth:`lvlmsal.Lvlm.diagnose`.
        path: where to save it; the suffix chooses the format.
        labels: of the answer's tokens, to mark the names of objects that are not in the image.

    Raises:
        UnsupportedError: matplotlib is not installed.
        ValueError: labels are not as many as tokens.
    """
    if labels is not None and len(labels) != len(report.tokens):
        raise ValueError(f"expected {len(report.tokens)} labels, one a token, got {len(labels)}")
    maps = {
        "saliency |A · ∂L/∂A|": _columns(report, report.rows),
        "attention A": _columns(report, report.attention),
    }
    names = _names(report)
    known = labels or [None] * len(report.tokens)
    before = _shown_positions(report).start
    # of the columns, the image and the question have no labels
    kinds = [None] * (1 + report.spans.output_start - before) + list(known)
    kinds = kinds[: len(names)]
    count = len(report.tokens)
    width = 3.0 + 0.3 * len(names)
    figure = new_figure(width + 4.0, 2.6 + 0.26 * count)
    left, right, bars = figure.subplots(
        1, 3, sharey=True, gridspec_kw={"width_ratios": [len(names), len(names), 6]}
    )
    for axes, (title, values) in zip((left, right), maps.items(), strict=True):
        axes.imshow(values.numpy(), aspect="auto", cmap=color_map(), vmin=0, vmax=1)
        axes.set_title(title, fontsize=11)
        axes.set_xticks(range(len(names)))
        name_ticks(axes, names, kinds, size=9)
    left.set_yticks(range(count))
    name_ticks(left, report.tokens, known, vertical=True, size=9)
    bar_colors = [HALLUCINATED if label else "#4477aa" for label in known]
    heights = [math.nan if value is None else value for value in report.saliency]
    bars.barh(range(count), heights, color=bar_colors)
    bars.set_title("S(c)", fontsize=11)
    bars.tick_params(labelsize=9)
    label = "share of the row's largest word\n(IMAGE: of the whole row)"
    add_color_bar(figure, [left, right], label, shrink=min(1.0, 4.0 / (0.26 * count)))
    layers = f"layers {report.layers[0]}-{report.layers[-1]}"
    figure.suptitle(f"{report.options.row} row, {layers}: {_shortened(report.text)}", fontsize=10)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def color_map() -> Colormap:
    """The color scale of saliency, that of pages and terminals; what is not known is light gray."""
    from matplotlib.colors import LinearSegmentedColormap

    stops = [f"#{stop}" for stop in RAMPS["light"]]
    return LinearSegmentedColormap.from_list("lvlmsal", stops).with_extremes(bad=UNSEEN)


def add_color_bar(
    figure: FigureBase,
    panels: Sequence[Axes],
    label: str,
    *,
    lowest: float = 0.0,
    largest: float = 1.0,
    shrink: float = 1.0,
) -> None:
    """Show to the right of some panels what their colors mean.

    Args:
        figure: What the panels are part of.
        panels: Maps in the colors of `color_map`.
        label: What is shown, with its unit.
        lowest: Value of the darkest color.
        largest: Value of the palest color.
        shrink: Length of the bar as a share of the panels' height.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(lowest, largest), color_map())
    bar = figure.colorbar(scale, ax=list(panels), shrink=shrink, pad=0.01, aspect=25)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def name_ticks(
    axes: Axes, texts: Sequence[str], labels: Labels, *, vertical: bool = False, size: float = 8
) -> None:
    """Write tokens at the ticks of an axis, and mark those that name an object.

    Names of objects are bold and have a color; those of objects that are not in the image have a
    sign as well, which the axis explains.

    Args:
        axes: Whose ticks are set already.
        texts: One a tick.
        labels: One a tick.
        vertical: Whether those of the vertical axis are meant.
        size: Of the letters, in points.
    """
    names = [
        f"{MARK} {as_label(text)}" if label else as_label(text)
        for text, label in zip(texts, labels, strict=True)
    ]
    if vertical:
        axes.set_yticklabels(names, fontsize=size)
        ticks = axes.get_yticklabels()
    else:
        axes.set_xticklabels(names, fontsize=size, rotation=90)
        ticks = axes.get_xticklabels()
    for tick, label in zip(ticks, labels, strict=True):
        if label is not None:
            tick.set_color(HALLUCINATED if label else CORRECT)
            tick.set_fontweight("bold")
    if any(labels):
        explained = f"{MARK} names an object that is not in the image"
        if vertical:
            axes.set_ylabel(explained, fontsize=8, color=HALLUCINATED)
        else:
            axes.set_xlabel(explained, fontsize=8, color=HALLUCINATED)


def as_text(figure: Figure) -> Figure:
    """The figure, in which no dollar sign of a name starts mathematics."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)  # what was asked for
        text.set_parse_math(False)
    return figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure whose parts make room for each other.

    Args:
        width: in inches.
        height: in inches.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnsupportedError(
            "plots need matplotlib: type  pip install 'lvlmsal[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def as_label(text: str) -> str:
    r"""A token as a label: blanks made visible, no mathematics started.

    >>> print(as_label(" $5"), as_label(" "))
    \$5 ␣
    """
    # A dollar sign would start matplotlib's mathematics.
    return text.strip().replace("\n", "\\n").replace("$", r"\$") or "␣"


def _columns(report: SaliencyReport, rows: Tensor) -> Tensor:
    """(T, 1 + question and answer): the images' share, then the texts, each row by its maximum."""
    mean = rows.mean(1)
    images = mean.new_zeros(len(mean))
    for start, end in report.spans.visual:
        images += mean[:, start:end].sum(1)
    shown = _shown_positions(report)
    texts = mean[:, shown]
    tiny = torch.finfo(mean.dtype).tiny
    share = images / mean.sum(1).clamp_min(tiny)
    # a row reaches the words before its token, or the token itself as well
    own = report.spans.output_start + torch.arange(len(mean))
    reach = own if report.options.row == "predicting" else own + 1
    unseen = torch.arange(shown.start, shown.start + texts.shape[1]) >= reach[:, None]
    scaled = texts / texts.amax(1, keepdim=True).clamp_min(tiny)
    return torch.cat([share[:, None], scaled.masked_fill(unseen, torch.nan)], dim=1)


def _names(report: SaliencyReport) -> list[str]:
    return ["IMAGE", *report.position_texts[_shown_positions(report)]]


def _shown_positions(report: SaliencyReport) -> slice:
    """Question and answer; the last token has a column of its own only where rows reach it."""
    stop = -1 if report.options.row == "predicting" else None
    return slice(report.spans.context_start("after_image"), stop)


def _shortened(text: str, limit: int = 110) -> str:
    shown = as_label(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
