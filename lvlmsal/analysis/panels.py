"""Parts that the pictures of reports share: maps over text, maps over images, labels of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lvlmsal.saliency.options import FusionName
from lvlmsal.saliency.plot import FRAME, Labels, as_label, color_map, name_ticks
from lvlmsal.saliency.report import Quantity, SaliencyReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_triangle(
    axes: Axes, values: Tensor, *, largest: float | None = None, rows: range, columns: range
) -> None:
    """A part of a token-to-token map; what a token cannot see is gray.

    Args:
        axes: Where to draw.
        values: Shape (T, T): what each token (row) draws from each other one (column).
        largest: Value of the palest color; by default each row has its own, its largest value,
            so that rows can be compared by shape.
        rows: Tokens to show.
        columns: Tokens that they draw from.
    """
    part = values[rows.start : rows.stop, columns.start : columns.stop]
    if largest is None:
        part = part / part.amax(1, keepdim=True).clamp_min(torch.finfo(part.dtype).tiny)
    unseen = torch.tensor([[column >= row for column in columns] for row in rows])
    shown = part.masked_fill(unseen, torch.nan)
    axes.imshow(
        shown.numpy(),
        cmap=color_map(),
        vmin=0,
        vmax=1 if largest is None else largest,
        interpolation="nearest",
        extent=(columns.start - 0.5, columns.stop - 0.5, rows.stop - 0.5, rows.start - 0.5),
        aspect="auto",
    )


def draw_image(
    axes: Axes,
    report: SaliencyReport,
    token: int,
    *,
    image: int = 0,
    of: Quantity = "saliency",
    fusion: FusionName | None = None,
    layer: int | None = None,
) -> None:
    """One token's map over an image, on a scale of its own; without images an empty panel.

    The report's images are what the model saw, so the patch grid lies over all of them.

    Args:
        axes: Where to draw.
        report: Of the answer.
        token: Index into the answer.
        image: Index of the image.
        of: ``"saliency"`` or ``"attention"``.
        fusion: That of the report by default.
        layer: One of the report's layers; their mean by default.
    """
    axes.set_axis_off()
    if not report.spans.images:
        axes.text(0.5, 0.5, "no image", ha="center", va="center", fontsize=8)
        return
    heat = report.image_map(token, image, of=of, fusion=fusion, layer=layer)
    width, height = float(heat.shape[1]), float(heat.shape[0])
    if image < len(report.images):
        width, height = map(float, report.images[image].size)
    extent = (0.0, width, height, 0.0)
    if image < len(report.images):
        # in light grays, so that every color is the map's
        axes.imshow(report.images[image].convert("L"), cmap="gray", extent=extent, alpha=0.55)
    peak = float(heat.max())
    strength = (heat / peak if peak > 0 else heat).numpy()
    # as in the explorer: the larger the value, the less of the image is seen through it
    alpha = (150 + 90 * strength) / 255
    axes.imshow(strength, cmap=color_map(), vmin=0, vmax=1, extent=extent, alpha=alpha)


def draw_strip(
    axes: Axes,
    report: SaliencyReport,
    rows: Sequence[tuple[str, Tensor]],
    token: int,
    *,
    labels: Labels | None = None,
    window: int = 50,
) -> None:
    """What one token draws from the text before it, as strips of color above that text.

    Args:
        axes: Where to draw.
        report: Of the answer.
        rows: A name and a row over all positions, shape (n,), for each strip; each has its own
            scale.
        token: Index into the answer.
        labels: Of the answer's tokens.
        window: At most this many positions are shown, the last ones before the token.
    """
    stop = report.spans.output_start + token
    start = max(report.spans.context_start("after_image"), stop - window)
    part = torch.stack([row[start:stop] for _, row in rows])
    part = part / part.amax(1, keepdim=True).clamp_min(torch.finfo(part.dtype).tiny)
    axes.imshow(
        part.numpy(), cmap=color_map(), vmin=0, vmax=1, interpolation="nearest", aspect="auto"
    )
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    axes.set_xticks(range(stop - start))
    texts = report.position_texts[start:stop]
    name_ticks(axes, texts, [_label_at(report, labels, at) for at in range(start, stop)])
    # where the answer begins
    border = report.spans.output_start - start - 0.5
    if 0 < border < stop - start - 1:
        axes.axvline(border, color=FRAME, lw=1.5)


def token_title(report: SaliencyReport, token: int, labels: Labels | None = None) -> str:
    """A token with its index, its label and its S(c), for the title of a panel."""
    kind = {None: "", True: ", hallucinated", False: ", correct"}[labels[token] if labels else None]
    value = report.saliency[token]
    size = "undefined" if value is None else f"{value:.4f}"
    return f"'{as_label(report.tokens[token])}' (token {token}{kind}), S(c) = {size}"


def save(figure: Figure, path: Path | str | None) -> Figure:
    """Write a figure where a path is given; the suffix chooses the format."""
    if path is not None:
        figure.savefig(path, dpi=110)
    return figure


def _label_at(report: SaliencyReport, labels: Labels | None, position: int) -> bool | None:
    index = position - report.spans.output_start
    return labels[index] if labels is not None and index >= 0 else None
