"""Pictures of a saliency report, drawn with matplotlib (the ``plot`` extra)."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lvlmsal.errors import UnsupportedError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lvlmsal.saliency.report import SaliencyReport


def plot_report(report: SaliencyReport, path: str | os.PathLike[str] | None = None) -> Figure:
    """Token by token: saliency and attention side by side, S(c) of each token, and the image.

    Rows of the two maps are the generated tokens, columns what they rest on. The first column is
    the images' share of the whole row; the others are the question and the answer so far, each row
    divided by its largest value there, so that rows can be compared by shape. S(c) stands beside
    them in its own unit.

    Args:
        report: from :meth:`lvlmsal.Lvlm.diagnose`.
        path: where to save it; the suffix chooses the format.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    maps = {
        "saliency |A · ∂L/∂A|": _columns(report, report.rows),
        "attention A": _columns(report, report.attention),
    }
    labels = _labels(report)
    count = len(report.tokens)
    width = 3.0 + 0.3 * len(labels)
    figure = new_figure(width + 3.0, 2.2 + 0.24 * count)
    left, right, bars = figure.subplots(
        1, 3, sharey=True, gridspec_kw={"width_ratios": [len(labels), len(labels), 6]}
    )
    for axes, (title, values) in zip((left, right), maps.items(), strict=True):
        _heat(axes, title, values, labels)
    left.set_yticks(range(count), [as_label(token) for token in report.tokens], fontsize=8)
    bars.barh(
        range(count),
        [math.nan if value is None else value for value in report.saliency],
        color="#4477aa",
    )
    bars.set_title("S(c)", fontsize=10)
    bars.tick_params(labelsize=7)
    layers = f"layers {report.layers[0]}-{report.layers[-1]}"
    figure.suptitle(f"{report.options.row} row, {layers}: {_shortened(report.text)}", fontsize=9)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


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
    for start, end in report.spans.images:
        images += mean[:, start:end].sum(1)
    texts = mean[:, _shown_positions(report)]
    tiny = torch.finfo(mean.dtype).tiny
    share = images / mean.sum(1).clamp_min(tiny)
    return torch.cat([share[:, None], texts / texts.amax(1, keepdim=True).clamp_min(tiny)], dim=1)


def _labels(report: SaliencyReport) -> list[str]:
    return ["IMAGE", *(as_label(text) for text in report.position_texts[_shown_positions(report)])]


def _shown_positions(report: SaliencyReport) -> slice:
    """Question and answer; the last token has a column of its own only where rows reach it."""
    stop = -1 if report.options.row == "predicting" else None
    return slice(report.spans.context_start("after_image"), stop)


def _heat(axes: Axes, title: str, values: Tensor, labels: list[str]) -> None:
    axes.imshow(values.numpy(), aspect="auto", cmap="magma", vmin=0, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)


def _shortened(text: str, limit: int = 110) -> str:
    shown = as_label(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
