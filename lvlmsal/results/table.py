"""The tables of a run: compact in the terminal, complete in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lvlmsal.results.columns import COLUMNS, Column

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
    for model, metric, cells in _blocks(results):
        title, columns = f"{model}: {metric}", columns_of(metric, cells)
        for table in _fitting(title, columns, cells, width):
            parts += [table, Text()]
    parts.append(Text(_legend(results), style="dim"))
    parts += [Text(f"note: {warning}", style="yellow") for warning in results["warnings"]]
    return Group(*parts)


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
    table = Table(title=title, title_justify="left", pad_edge=False)
    table.add_column("method")
    for column in columns:
        head = heading_of(column, cells).replace(f"{column.title} ", column.title + gap)
        table.add_column(head, justify="right", overflow="fold")
    if speed:
        table.add_column("tokens/s", justify="right", overflow="fold")
    several = len({cell["benchmark"] for cell in cells}) > 1
    shown = ""
    for cell in cells:
        if several and cell["benchmark"] != shown:
            shown = cell["benchmark"]
            if table.row_count:
                table.add_section()
            table.add_row(Text(f"{shown} ({cell['n']})", style="bold italic"))
        values = [_value(cell, c, gap) for c in columns]
        table.add_row(Text(name_of(cell)), *values, *([_speed(cell)] if speed else []))
        if compared := _compared(cell):  # a row of its own: both may wrap, and stay level
            table.add_row(compared, *(_difference(cell, c, gap) for c in columns))
    return table


def markdown_tables(results: Mapping[str, Any]) -> str:
    """The same tables in Markdown, with differences in columns of their own.

    Args:
        results: The content of ``results.json``.
    """
    lines: list[str] = []
    for model, metric, cells in _blocks(results):
        columns = columns_of(metric, cells)
        heads = ["benchmark", "method"]
        for column in columns:
            heads.append(heading_of(column, cells))
            if not column.bare:
                heads.append(f"Δ {column.title}")
        heads += ["against", "changed", "McNemar p", "n", "tokens/s"]
        lines += [f"### {markdown_text(model)}: {markdown_text(metric)}", "", markdown_row(heads)]
        lines.append(markdown_row(["---", "---", *["---:"] * (len(heads) - 2)]))
        for cell in cells:
            row = [cell["benchmark"], name_of(cell)]
            for column in columns:
                row.append(value_text(cell, column))
                if not column.bare:
                    row.append(difference_text(cell, column) or "-")
            changed = "-" if cell["changed"] is None else str(cell["changed"])
            row += [against_text(cell) or "-", changed, p_text(cell) or "-", _count(cell)]
            lines.append(markdown_row([*row, _speed(cell)]))
        lines.append("")
    lines.append(markdown_text(_legend(results)))
    lines += [f"\nNote: {markdown_text(warning)}" for warning in results["warnings"]]
    return "\n".join(lines) + "\n"


def shown_cells(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cells of a table: what was answered with several seeds stands there once, summed up."""
    summaries = {_way(entry): entry for entry in results.get("over_seeds", [])}
    shown = {_way(cell): summaries.get(_way(cell), cell) for cell in results["cells"]}
    return list(shown.values())


def _way(cell: Mapping[str, Any]) -> tuple[str, str, str]:
    return cell["model"], cell["method"], cell["benchmark"]


def name_of(cell: Mapping[str, Any]) -> str:
    """A method's name, with the number of its seeds where there are several."""
    return f"{cell['method']} ({len(cell['seeds'])} seeds)" if "seeds" in cell else cell["method"]


def against_text(cell: Mapping[str, Any]) -> str:
    """What a cell was compared with, and whether that decodes differently; empty if nothing."""
    other = cell.get("compared_with")
    if other is None:
        return ""
    return f"{other} (other decoder)" if cell["decoder_differs"] else str(other)


def p_text(cell: Mapping[str, Any]) -> str:
    """The p-value of McNemar's test, starred where answers share images; empty without one."""
    test = cell.get("mcnemar")
    if test is None:
        return ""
    return f"{test['p_value']:.2g}" + ("" if test["independent"] else "*")


def value_text(cell: Mapping[str, Any], column: Column) -> str:
    """A figure with its interval, such as ``81.2 [78.0, 84.1]``."""
    entry = cell["figures"][column.figure]
    if entry["value"] is None:
        return "undefined"
    if column.bare:
        return f"{entry['value']:g}"
    scale = 100 if column.percent else 1
    text = f"{entry['value'] * scale:.1f}"
    if entry.get("std") is not None:
        text += f" ± {entry['std'] * scale:.1f}"
    if entry["low"] is None:
        return text
    return f"{text} [{entry['low'] * scale:.1f}, {entry['high'] * scale:.1f}]"


def difference_text(cell: Mapping[str, Any], column: Column) -> str:
    """The paired difference to the baseline, such as ``+1.0 [-1.2, +3.1]``; empty without one."""
    entry = cell["figures"][column.figure]["difference"]
    if entry is None or entry["value"] is None:
        return ""
    scale = 100 if column.percent else 1
    text = f"{entry['value'] * scale:+.1f}"
    if entry["low"] is None:
        return text
    return f"{text} [{entry['low'] * scale:+.1f}, {entry['high'] * scale:+.1f}]"


def is_clear(cell: Mapping[str, Any], column: Column) -> bool:
    """Whether the interval of the difference leaves zero out."""
    entry = cell["figures"][column.figure]["difference"]
    if entry is None or entry["low"] is None:
        return False
    return bool(entry["low"] > 0 or entry["high"] < 0)


def _blocks(results: Mapping[str, Any]) -> Iterable[tuple[str, str, list[Mapping[str, Any]]]]:
    """Model, metric and the cells of both, grouped by benchmark."""
    blocks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in shown_cells(results):
        blocks.setdefault((cell["model"], cell["metric"]), []).append(cell)
    for (model, metric), cells in blocks.items():
        order = list(dict.fromkeys(cell["benchmark"] for cell in cells))
        yield model, metric, sorted(cells, key=lambda cell: order.index(cell["benchmark"]))


def columns_of(metric: str, cells: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The columns that show the figures of a metric: those of `COLUMNS`, or else every figure."""
    names = list(cells[0]["figures"])
    known = tuple(c for c in COLUMNS.get(metric, ()) if c.figure in names)
    return known or tuple(Column(name, name, percent=False) for name in names)


def heading_of(column: Column, cells: Sequence[Mapping[str, Any]]) -> str:
    """A column's title with its direction and its unit, such as ``CHAIR_I ↓ %``."""
    better = cells[0]["figures"][column.figure]["higher_is_better"]
    arrow = {True: " ↑", False: " ↓"}.get(better, "")
    return f"{column.title}{arrow}" + (" %" if column.percent else "")


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
        lines.append(f" against {other}")
    if test := p_text(cell):
        lines.append(f" McNemar p {test}")
    return Text("\n".join(lines), style="dim")


def _speed(cell: Mapping[str, Any]) -> str:
    speed = cell["tokens_per_second"]
    return "-" if speed is None or not math.isfinite(speed) else f"{speed:.0f}"


def _count(cell: Mapping[str, Any]) -> str:
    return f"{cell['n']} ({cell['failed']} failed)" if cell["failed"] else str(cell["n"])


def _legend(results: Mapping[str, Any]) -> str:
    cells = shown_cells(results)
    text = "In brackets: 95 % intervals. "
    if results["baseline"]:
        text += f"Δ: paired difference to {results['baseline']!r}. "
    else:
        text += (
            "Δ: paired difference to the method's twin, which decodes alike without mitigation. "
        )
    if any(cell.get("decoder_differs") for cell in cells):
        text += "Other decoder: the difference is also that of the decoders. "
    if any("seeds" in cell for cell in cells):
        text += "±: standard deviation over seeds, around their mean. "
    text += "Intervals resample images."
    if any(cell.get("mcnemar") and not cell["mcnemar"]["independent"] for cell in cells):
        text += " *: several answers are about one image, which McNemar's test does not allow for."
    if any(
        value_text(cell, column) == "undefined"
        for cell in cells
        for column in columns_of(cell["metric"], [cell])
    ):
        text += " Undefined: nothing to divide by, or a total of which a part is missing."
    parsers = dict.fromkeys((c["metric_options"].get("parser"), c["metric"]) for c in cells)
    rules = [f"{rule} ({metric})" for rule, metric in parsers if rule]
    variants = sorted({(cell["metric"], cell["variant"]) for cell in cells if cell["variant"]})
    objects = [variant for metric, variant in variants if metric == "chair"]
    if len({rule for rule, _ in parsers if rule}) == 1:
        rules = [str(rule) for rule, _ in parsers if rule][:1]
    if rules:
        text += f" Yes and no were read by the rule: {', '.join(rules)}."
    if objects:
        text += f" Objects were read by: {'; '.join(objects)}."
    for metric, variant in variants:
        if metric != "chair":
            text += f" Variant of {metric}: {variant}."
    text += readers_text((cell["method"], cell) for cell in cells)
    judges = {(c["judge"]["judge"], c["judge"]["prompt"]) for c in cells if c.get("judge")}
    text += "".join(
        f" Judged by {judge or 'nobody yet'}, prompt {prompt}."
        for judge, prompt in sorted(judges, key=str)
    )
    return text


def readers_text(cells: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """From which row those read saliency that choose tokens by it; empty where none does.

    Args:
        cells: What a table calls them, and their entries in ``results.json``.

    >>> readers_text([("a", {"saliency_row": "candidate"}), ("b", {})])
    " Saliency is read from the candidate row by 'a'."
    """
    readers: dict[str, dict[str, None]] = {}
    for title, cell in cells:
        if row := cell.get("saliency_row"):
            readers.setdefault(row, {})[repr(title)] = None
    return "".join(
        f" Saliency is read from the {row} row by {', '.join(titles)}."
        for row, titles in readers.items()
    )


def markdown_row(texts: Iterable[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(markdown_text(text) for text in texts) + " |"


def markdown_text(text: str) -> str:
    """Text that cannot break out of a cell of a Markdown table."""
    text = text.replace("\n", " ").replace("|", "\\|")
    return text.replace("<", "&lt;").replace(">", "&gt;")
