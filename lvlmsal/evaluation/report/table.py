"""The tables of a run as texts: what stands in them, and Markdown of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.escaping import markdown_text
from lvlmsal.evaluation.report.columns import readers_text
from lvlmsal.evaluation.report.grid import Grid, markdown_grid
from lvlmsal.evaluation.results.unfinished import unfinished_text
from lvlmsal.metrics.columns import Column
from lvlmsal.registry import METRICS


def run_grids(results: Mapping[str, Any]) -> list[Grid]:
    """The same tables as texts, with differences in columns of their own.

    Args:
        results: The content of ``results.json``.
    """
    grids = []
    for model, metric, cells in blocks_of(results):
        columns = columns_of(metric, cells)
        heads = ["benchmark", "method"]
        for column in columns:
            heads.append(heading_of(column, cells))
            if not column.bare:
                heads.append(f"Δ {column.title}")
        heads += ["against", "changed", "McNemar p", "n", "tokens/s"]
        rows = []
        for cell in cells:
            row = [cell["benchmark"], name_of(cell)]
            for column in columns:
                row.append(value_text(cell, column))
                if not column.bare:
                    row.append(difference_text(cell, column) or "-")
            changed = "-" if cell["changed"] is None else str(cell["changed"])
            row += [against_text(cell) or "-", changed, p_text(cell) or "-", _count(cell)]
            rows.append([*row, speed_text(cell)])
        grids.append(Grid(f"{model}: {metric}", heads, rows, names=2))
    return grids


def markdown_tables(results: Mapping[str, Any]) -> str:
    """The tables in Markdown, with the legend and the warnings under them.

    Args:
        results: The content of ``results.json``.
    """
    lines = []
    if results.get("unfinished"):
        lines += [markdown_text(unfinished_text(results["unfinished"])), ""]
    lines += [line for grid in run_grids(results) for line in [*markdown_grid(grid), ""]]
    lines.append(markdown_text(legend(results)))
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
    if entry["low"] is not None:
        text += f" [{entry['low'] * scale:.1f}, {entry['high'] * scale:.1f}]"
    return text + _read_by_judge(cell)


def _read_by_judge(cell: Mapping[str, Any]) -> str:
    """Of how many replies of a judge a figure is, where not all could be read."""
    judge = cell.get("judge") or {}
    read, needed = judge.get("read"), judge.get("of")
    return f" ({read} of {needed} read)" if read is not None and read < needed else ""


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


def blocks_of(results: Mapping[str, Any]) -> Iterable[tuple[str, str, list[Mapping[str, Any]]]]:
    """Model, metric and the cells of both, grouped by benchmark."""
    blocks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in shown_cells(results):
        blocks.setdefault((cell["model"], cell["metric"]), []).append(cell)
    for (model, metric), cells in blocks.items():
        order = list(dict.fromkeys(cell["benchmark"] for cell in cells))
        yield model, metric, sorted(cells, key=lambda cell: order.index(cell["benchmark"]))


def columns_of(metric: str, cells: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The columns that show the figures of a metric.

    Returns:
        The `columns` of its class, as far as the cells have their figures. Every figure where the
        class names none, or where the results are read without the package that brought the metric.
    """
    try:
        named = METRICS.get(metric).columns
    except (UnknownName, ConfigError):
        named = ()
    names = list(cells[0]["figures"])
    known = tuple(column for column in named if column.figure in names)
    return known or tuple(Column(name, name, percent=False) for name in names)


def heading_of(column: Column, cells: Sequence[Mapping[str, Any]]) -> str:
    """A column's title with its direction and its unit, such as ``CHAIR_I ↓ %``."""
    better = cells[0]["figures"][column.figure]["higher_is_better"]
    arrow = {True: " ↑", False: " ↓"}.get(better, "")
    return f"{column.title}{arrow}" + (" %" if column.percent else "")


def speed_text(cell: Mapping[str, Any]) -> str:
    """Tokens a second, or a dash."""
    speed = cell["tokens_per_second"]
    return "-" if speed is None or not math.isfinite(speed) else f"{speed:.0f}"


def _count(cell: Mapping[str, Any]) -> str:
    return f"{cell['n']} ({cell['failed']} failed)" if cell["failed"] else str(cell["n"])


def legend(results: Mapping[str, Any]) -> str:
    """What the tables of a run mean, in a few sentences.

    Args:
        results: The content of ``results.json``.
    """
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
