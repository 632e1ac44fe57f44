"""The tables of a run for a terminal, as compact as it needs them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lvlmsal.escaping import visible
from lvlmsal.evaluation.report.table import (
    against_text,
    blocks_of,
    columns_of,
    difference_text,
    heading_of,
    is_clear,
    legend,
    name_of,
    p_text,
    speed_text,
    value_text,
)
from lvlmsal.evaluation.results.unfinished import unfinished_text
from lvlmsal.metrics.columns import Column

_MORE = " (continued)"
NARROW = 125
"""Below this width, intervals stand under their values instead of beside them."""


def terminal_tables(results: Mapping[str, Any], *, width: int = 140) -> RenderableType:
    """Tables for a terminal, one for each model and metric.

    Args:
        results: The content of ``results.json``.
        width: Of the terminal, in characters.
    """
    parts: list[RenderableType] = []
    if results.get("unfinished"):
        parts += [shown(unfinished_text(results["unfinished"]), style="bold red"), Text()]
    for model, metric, cells in blocks_of(results):
        title, columns = f"{model}: {metric}", columns_of(metric, cells)
        for table in _fitting(title, columns, cells, width):
            parts += [table, Text()]
    parts.append(shown(legend(results), style="dim"))
    parts += [shown(f"note: {text}", style="yellow") for text in results["warnings"]]
    return Group(*parts)


def shown(text: object, style: str = "") -> Text:
    """A name for a terminal: neither markup nor escape codes act."""
    return Text(visible(text), style=style)


def _fitting(
    title: str, columns: Sequence[Column], cells: Sequence[Mapping[str, Any]], width: int
) -> list[Table]:
    """One table, or several below one another where words and numbers would be broken in one."""
    ruler = Console(width=10_000)
    table = _terminal_table(title, columns, cells, " ")
    if ruler.measure(table).maximum <= width:
        return [table]
    most = len(columns)
    while most > 1 and ruler.measure(_part(title, columns, 0, most, cells)).minimum > width:
        most -= 1
    size = math.ceil(len(columns) / math.ceil(len(columns) / most))  # parts of one width
    return [
        _part(title if start == 0 else title + _MORE, columns, start, start + size, cells)
        for start in range(0, len(columns), size)
    ]


def _part(
    title: str,
    columns: Sequence[Column],
    start: int,
    stop: int,
    cells: Sequence[Mapping[str, Any]],
) -> Table:
    """Some of the columns; the last of all has the speed next to it."""
    some = columns[start:stop]
    return _terminal_table(title, some, cells, "\n", speed=stop >= len(columns))


def _terminal_table(
    title: str,
    columns: Sequence[Column],
    cells: Sequence[Mapping[str, Any]],
    gap: str,
    *,
    speed: bool = True,
) -> Table:
    table = Table(title=shown(title), title_justify="left", pad_edge=False)
    table.add_column("method")
    for column in columns:
        head, title = visible(heading_of(column, cells)), visible(column.title)
        head = head.replace(f"{title} ", title + gap)
        table.add_column(Text(head), justify="right", overflow="fold")
    if speed:
        table.add_column("tokens/s", justify="right", overflow="fold")
    several = len({cell["benchmark"] for cell in cells}) > 1
    section = ""
    for cell in cells:
        if several and cell["benchmark"] != section:
            section = cell["benchmark"]
            if table.row_count:
                table.add_section()
            table.add_row(shown(f"{section} ({cell['n']})", style="bold italic"))
        values = [_value(cell, c, gap) for c in columns]
        table.add_row(shown(name_of(cell)), *values, *([speed_text(cell)] if speed else []))
        if compared := _compared(cell):  # a row of its own: both may wrap, and stay level
            table.add_row(compared, *(_difference(cell, c, gap) for c in columns))
    return table


def terminal_text(cell: Mapping[str, Any], column: Column, gap: str) -> Text:
    """A figure above its difference, bold where that is clear; ``gap`` stands before intervals."""
    text = _value(cell, column, gap)
    if difference := _difference(cell, column, gap):
        text.append("\n").append_text(difference)
    return text


def _value(cell: Mapping[str, Any], column: Column, gap: str) -> Text:
    return Text(value_text(cell, column).replace(" [", gap + "["))


def _difference(cell: Mapping[str, Any], column: Column, gap: str) -> Text:
    text = "" if column.bare else difference_text(cell, column)
    style = "bold" if is_clear(cell, column) else "dim"
    return Text(f"Δ {text}".replace(" [", gap + "[") if text else "", style=style)


def _compared(cell: Mapping[str, Any]) -> Text:
    """What a method was compared with, and the p-value; empty where it was with nothing."""
    lines = []
    if other := against_text(cell):
        lines.append(f" against {visible(other)}")
    if test := p_text(cell):
        lines.append(f" McNemar p {test}")
    return Text("\n".join(lines), style="dim")
