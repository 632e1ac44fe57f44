"""Maps of single tokens: attention next to saliency, and fusion next to fusion.

They work on the report of any model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lvlmsal.analysis.panels import draw_image, draw_strip, save, token_title
from lvlmsal.saliency.options import FUSIONS
from lvlmsal.saliency.plot import Labels, add_color_bar, new_figure
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_OWN_SCALE = "share of the map's\nlargest value"


def plot_tokens(
    report: SaliencyReport,
    tokens: Sequence[int],
    path: Path | str | None = None,
    *,
    labels: Labels | None = None,
    layer: int | None = None,
    image: int = 0,
) -> Figure:
    """Figures 1, 2 and 6: the attention map of chosen tokens next to their saliency map.

    A line a token: the image, both maps over it, and both over the question and the answer so far.
    Every map has its own scale, so maps compare by shape.

    Args:
        report: Of the answer.
        tokens: Indices into the answer; 0 has no answer before it.
        path: Where to save it; the suffix chooses the format.
        labels: Of the answer's tokens, to color the names of objects.
        layer: One of the report's layers; their mean by default.
        image: Index of the image.

    Raises:
        IndexError: The answer has no such token.
        UnsupportedError: matplotlib is not installed.
    """
    _check(report, tokens)
    figure = new_figure(14.5, 2.5 * len(tokens) + 0.3)
    widths = {"width_ratios": [1, 1, 1, 4]}
    grid = figure.subplots(len(tokens), 4, squeeze=False, gridspec_kw=widths)
    place = slice(None) if layer is None else [report.layers.index(layer)]
    for token, (plain, left, right, text) in zip(tokens, grid, strict=True):
        draw_image(left, report, token, image=image, of="attention", layer=layer)
        draw_image(right, report, token, image=image, layer=layer)
        plain.set_axis_off()
        if image < len(report.images):
            plain.imshow(report.images[image])
        left.set_title("attention", fontsize=9)
        right.set_title("saliency", fontsize=9)
        strips = [
            ("attention", report.attention[token, place].mean(0)),
            ("saliency", report.rows[token, place].mean(0)),
        ]
        draw_strip(text, report, strips, token, labels=labels)
        text.set_title(token_title(report, token, labels), fontsize=9, loc="left")
    add_color_bar(figure, list(grid.flat), _OWN_SCALE, shrink=min(1.0, 2 / len(tokens)))
    return save(figure, path)


def plot_fusions(
    report: SaliencyReport,
    token: int,
    path: Path | str | None = None,
    *,
    labels: Labels | None = None,
    aurocs: Mapping[str, Interval] | None = None,
    image: int = 0,
) -> Figure:
    """Figure 9: one token under every way to fuse attention and gradient.

    Args:
        report: Of the answer.
        token: Index into the answer.
        path: Where to save it.
        labels: Of the answer's tokens.
        aurocs: How well each fusion tells correct from hallucinated mentions, for the titles.
        image: Index of the image.

    Raises:
        IndexError: The answer has no such token.
        UnsupportedError: matplotlib is not installed.
    """
    _check(report, [token])
    figure = new_figure(13, 6.4)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 1.25]).flat
    for fusion, axes in zip(FUSIONS, above.subplots(1, len(FUSIONS)), strict=True):
        draw_image(axes, report, token, image=image, fusion=fusion)
        known = (aurocs or {}).get(fusion)
        bounds = f"\nAUROC {known.value:.3f} [{known.low:.3f}, {known.high:.3f}]" if known else ""
        axes.set_title(fusion + bounds, fontsize=9)
    strips = [(fusion, report.maps[fusion][token].mean(0)) for fusion in FUSIONS]
    draw_strip(below.subplots(), report, strips, token, labels=labels)
    add_color_bar(above, above.axes, _OWN_SCALE)
    figure.suptitle(token_title(report, token, labels), fontsize=9)
    return save(figure, path)


def _check(report: SaliencyReport, tokens: Sequence[int]) -> None:
    wrong = [token for token in tokens if not 0 <= token < len(report.tokens)]
    if wrong:
        raise IndexError(f"no tokens {wrong}: the answer has {len(report.tokens)}, counted from 0")
