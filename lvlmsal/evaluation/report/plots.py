"""Plots of a report as inline SVG: figures with their intervals, and differences with theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lvlmsal.escaping import html_text
from lvlmsal.evaluation.report.table import columns_of, name_of, shown_cells
from lvlmsal.metrics.columns import Column

_LABELS, _PLOT, _LINE = 235, 230, 22
_CHARACTERS = 34
_MOST = 4


class Bar(NamedTuple):
    """A value with its bounds, under its label; None where it is undefined."""

    label: str
    value: float | None
    low: float | None
    high: float | None


def plots(results: Mapping[str, Any]) -> str:
    """For each model and benchmark, its first figures with their intervals and differences.

    Args:
        results: The content of ``results.json``.
    """
    blocks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in shown_cells(results):
        blocks.setdefault((cell["model"], cell["benchmark"]), []).append(cell)
    parts = []
    for (model, benchmark), cells in blocks.items():
        columns = [c for c in columns_of(cells[0]["metric"], cells) if not c.bare][:_MOST]
        parts.append(f"<h3>{html_text(f'{model}: {benchmark}')}</h3><div class='plots'>")
        for column in columns:
            parts.append(_plot(cells, column))
        parts.append("</div>")
    return "\n".join(parts)


def _plot(cells: Sequence[Mapping[str, Any]], column: Column) -> str:
    scale = 100 if column.percent else 1
    figures = [_bar(name_of(c), c["figures"][column.figure], scale) for c in cells]
    differences = [
        _bar(f"{c['method']} - {c['compared_with']}", difference, scale)
        for c in cells
        if (difference := c["figures"][column.figure]["difference"]) is not None
    ]
    unit = " %" if column.percent else ""
    shown = interval_plot(f"{column.title}{unit}", figures)
    if differences:
        shown += interval_plot(f"Δ {column.title}{unit}", differences, zero=True)
    return shown


def _bar(label: str, entry: Mapping[str, Any], scale: float) -> Bar:
    found = [entry[key] for key in ("value", "low", "high")]
    return Bar(label, *(None if value is None else value * scale for value in found))


def interval_plot(title: str, bars: Sequence[Bar], *, zero: bool = False) -> str:
    """Points with intervals, one line a bar, as an SVG element.

    Args:
        title: What stands above.
        bars: The values.
        zero: Draw a line at zero, and in colour what lies clear of it.

    Example:
        >>> "<circle" in interval_plot("F1", [Bar("greedy", 80.0, 78.0, 82.0)])
        True
    """
    known = [v for bar in bars for v in bar[1:] if isinstance(v, float | int)]
    low, high, step = _axis([*known, 0.0] if zero else known)
    height = 48 + _LINE * len(bars)

    def x(value: float) -> float:
        return round(_LABELS + _PLOT * (value - low) / (high - low), 1)

    width = _LABELS + _PLOT + 20
    parts = [
        f"<svg role='img' width='{width}' height='{height}' viewBox='0 0 {width} {height}'>",
        f"<title>{html_text(title)}</title>",
        f"<text x='{_LABELS}' y='14' class='head'>{html_text(title)}</text>",
    ]
    bottom = height - 22
    for number in range(round((high - low) / step) + 1):
        tick = low + number * step
        strong = " class='zero'" if zero and abs(tick) < step / 1000 else ""
        parts.append(f"<line x1='{x(tick)}' x2='{x(tick)}' y1='22' y2='{bottom}'{strong}/>")
        parts.append(
            f"<text x='{x(tick)}' y='{height - 8}' class='tick'>{_number(tick, step)}</text>"
        )
    for place, bar in enumerate(bars):
        y = 22 + _LINE * place + _LINE / 2
        long = len(bar.label) > _CHARACTERS
        short = bar.label[: _CHARACTERS - 1] + "…" if long else bar.label
        parts.append(
            f"<text x='{_LABELS - 8}' y='{y + 4}' class='label'>{html_text(short)}"
            f"<title>{html_text(bar.label)}</title></text>"
        )
        if bar.value is None:
            parts.append(f"<text x='{_LABELS + 4}' y='{y + 4}'>undefined</text>")
            continue
        kind = ""
        if bar.low is not None and bar.high is not None:
            kind = " class='clear'" if zero and (bar.low > 0 or bar.high < 0) else ""
            parts.append(
                f"<path d='M{x(bar.low)} {y}H{x(bar.high)}M{x(bar.low)} {y - 4}v8"
                f"M{x(bar.high)} {y - 4}v8'{kind}/>"
            )
        parts.append(
            f"<circle cx='{x(bar.value)}' cy='{y}' r='4'{kind}><title>{bar.value:.4g}</title>"
            "</circle>"
        )
    return "".join([*parts, "</svg>"])


def _axis(values: Sequence[float]) -> tuple[float, float, float]:
    """First and last tick of an axis that holds all values, and the step between ticks.

    Example:
        >>> _axis([0.0, 7.0])
        (0.0, 8.0, 2.0)
        >>> _axis([])
        (0.0, 1.0, 0.25)
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step


def _number(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step, digits) != round(step, digits + 2):
        digits += 1
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text
