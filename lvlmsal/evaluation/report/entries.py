"""The entries of ``results.json`` as columns and cells of tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.evaluation.results import schema
from lvlmsal.evaluation.results.schema import Bounds, Entry, Figure, McNemarTest
from lvlmsal.metrics.columns import Column
from lvlmsal.metrics.further import further_columns
from lvlmsal.registry import METRICS
from lvlmsal.tables.table import NONE, Cell, Head


def shown_cells(results: schema.Results) -> Sequence[schema.Cell | schema.Summary]:
    """The entries that tables show: several seeds stand there once, summed up."""
    summaries = {_key(entry): entry for entry in results.get("over_seeds", [])}
    shown = {_key(entry): summaries.get(_key(entry), entry) for entry in results["cells"]}
    return list(shown.values())


def _key(entry: Entry) -> tuple[str, str, str]:
    return entry["model"], entry["method"], entry["benchmark"]


def columns_of(metric: str, entries: Sequence[Entry]) -> tuple[Column, ...]:
    """The columns that show the figures of a metric, then those of further metrics.

    Returns:
        The `columns` of its class, as far as the entries have their figures. Every figure where the
        class names none, or where the results are read without the package that brought the metric.
        Likewise of every further metric that any of the entries has.
    """
    return tuple(column for columns in columns_by_metric(metric, entries) for column in columns)


def columns_by_metric(metric: str, entries: Sequence[Entry]) -> list[list[Column]]:
    """`columns_of`, those of each metric by themselves."""
    further = {each["label"]: each for entry in entries for each in entry.get("metrics", ())}
    others = {name for each in further.values() for name in each["figures"]}
    names = [name for name in entries[0]["figures"] if name not in others]
    found = [_known(_class_columns(metric), names)]
    for label, each in further.items():
        columns = _class_columns(each["metric"])
        renamed = further_columns(label, each["metric"], each["figures"], columns)
        found.append(_known(renamed, each["figures"]))
    return found


def _class_columns(metric: str) -> tuple[Column, ...]:
    try:
        return METRICS.get(metric).columns
    except (UnknownName, ConfigError):
        return ()


def _known(columns: Iterable[Column], names: Sequence[str]) -> list[Column]:
    """The columns of these figures; a plain one for each figure where there are none."""
    known = [column for column in columns if column.figure in names]
    return known or [Column(name, name, percent=False) for name in names]


def name_of(entry: Entry) -> str:
    """A method's name, with the number of its seeds where there are several."""
    seeds = entry.get("seeds")
    return f"{entry['method']} ({len(seeds)} seeds)" if isinstance(seeds, list) else entry["method"]


def heading_of(column: Column, entries: Sequence[Entry]) -> Head:
    """A column's title with its direction and its unit, such as ``CHAIR_I ↓ %``."""
    figures = (entry["figures"].get(column.figure) for entry in entries)
    better = next(figure["higher_is_better"] for figure in figures if figure)
    arrow = [] if better is None else ["↑" if better else "↓"]
    return Head(column.title, " ".join([*arrow, *(["%"] if column.percent else [])]))


def figure_heads(columns: Iterable[Column], entries: Sequence[Entry], first: int) -> list[Head]:
    """A column for each figure, and one for its difference.

    Args:
        columns: The figures.
        entries: The entries of the table.
        first: How many columns stand before these.
    """
    heads: list[Head] = []
    for column in columns:
        heads.append(heading_of(column, entries))
        if not column.bare:
            below = first + len(heads) - 1
            heads.append(Head(f"Δ {column.title}", below=below, prefix="Δ "))
    return heads


def figure_cells(entry: Entry, columns: Iterable[Column]) -> list[Cell]:
    """The cells of an entry under `figure_heads`."""
    cells: list[Cell] = []
    for column in columns:
        cells.append(value_cell(entry, column))
        if not column.bare:
            figure = entry["figures"].get(column.figure)
            cells.append(difference_cell(figure["difference"] if figure else None, column))
    return cells


def value_cell(entry: Entry, column: Column) -> Cell:
    """A figure with its interval, such as ``81.2 [78.0, 84.1]``."""
    found = entry["figures"].get(column.figure)
    if found is None:  # of a metric that only others have
        return NONE
    if found["value"] is None:
        return Cell("undefined")
    text, spread = value_texts(found, column)
    if column.bare:
        return Cell(text)
    scale = 100 if column.percent else 1
    text += f" ± {spread}" if spread else ""
    some = f" ({read})" if (read := read_text(entry)) else ""
    if found["low"] is None or found["high"] is None:
        return Cell(text + some)
    return Cell(text, f"[{found['low'] * scale:.1f}, {found['high'] * scale:.1f}]{some}")


def value_texts(figure: Figure, column: Column) -> tuple[str, str]:
    """A value that is defined, and its standard deviation over seeds, which may be empty."""
    if column.bare:
        return f"{figure['value']:g}", ""
    scale = 100 if column.percent else 1
    value, spread = figure["value"], figure.get("std")
    assert value is not None
    return f"{value * scale:.1f}", "" if spread is None else f"{spread * scale:.1f}"


def read_text(entry: Entry) -> str:
    """Of how many replies of a judge the figures are; empty where all could be read."""
    judge = cast("schema.Cell", entry).get("judge")  # summaries have none
    if not judge or judge["read"] is None or judge["of"] is None:
        return ""
    return f"{judge['read']} of {judge['of']} read" if judge["read"] < judge["of"] else ""


def difference_cell(difference: Bounds | None, column: Column) -> Cell:
    """A paired difference, such as ``+1.0 [-1.2, +3.1]``; bold where it is significant.

    Args:
        difference: ``value``, ``low`` and ``high``.
        column: Its figure.
    """
    if difference is None or difference["value"] is None:
        return NONE
    scale = 100 if column.percent else 1
    text = f"{difference['value'] * scale:+.1f}"
    if difference["low"] is None or difference["high"] is None:
        return Cell(text)
    interval = f"[{difference['low'] * scale:+.1f}, {difference['high'] * scale:+.1f}]"
    return Cell(text, interval, strong=is_significant(difference))


def is_significant(difference: Bounds | None) -> bool:
    """Whether the 95 % interval of a difference excludes 0."""
    if difference is None or difference["low"] is None or difference["high"] is None:
        return False
    return difference["low"] > 0 or difference["high"] < 0


def verdict(difference: Bounds, higher_is_better: bool | None) -> str:
    """What a significant difference means: ``better``, ``worse``, or ``different``."""
    value = difference["value"]
    if higher_is_better is None or not value:
        return "different"
    return "better" if (value > 0) == higher_is_better else "worse"


def difference_values(
    figure: str, difference: Bounds | None, found: Mapping[str, Any]
) -> dict[str, Any]:
    """The paired difference of a figure as values of a frame; none where there is none.

    Args:
        figure: Its name.
        difference: With its interval.
        found: The entry, or what a pair was found to be, with the test of McNemar.
    """
    if difference is None:
        return {}
    test = found.get("mcnemar")
    return {
        "difference": difference["value"],
        "difference_low": difference["low"],
        "difference_high": difference["high"],
        "significant": is_significant(difference),
        # the test is of one of the figures
        "mcnemar_p": test["p_value"] if test and test["figure"] == figure else None,
    }


def any_significant(entries: Iterable[Entry]) -> bool:
    """Whether the tables of these entries hold a difference in bold."""
    return any(
        is_significant(entry["figures"][column.figure]["difference"])
        for entry in entries
        for column in columns_of(entry["metric"], [entry])
        if not column.bare
    )


def against_heads(method: int) -> list[Head]:
    """What an entry was compared with, and how many answers differ.

    Args:
        method: Place of the column of the method's name.
    """
    return [
        Head("against", below=method, prefix=" against "),
        Head("changed", terminal=False),
        Head("McNemar p", below=method, prefix=" McNemar p "),
    ]


def against_cells(entry: Entry) -> list[Cell]:
    """The cells of an entry under `against_heads`."""
    return [against_cell(entry), count_cell(entry["changed"]), p_cell(entry.get("mcnemar"))]


def against_cell(entry: Entry) -> Cell:
    """What an entry was compared with, and whether that decodes differently."""
    other = entry.get("compared_with")
    if other is None:
        return NONE
    return Cell(f"{other} (other decoder)" if entry["decoder_differs"] else str(other))


def p_cell(test: McNemarTest | None) -> Cell:
    """The p-value of McNemar's test, starred where answers share images."""
    if test is None:
        return NONE
    return Cell(f"{test['p_value']:.2g}" + ("" if test["independent"] else "*"))


def count_cell(count: int | None) -> Cell:
    """A count, or a dash."""
    return NONE if count is None else Cell(str(count))


def number_cell(value: float | None, form: str) -> Cell:
    """A number in a format of Python's, or a dash."""
    return NONE if value is None or not math.isfinite(value) else Cell(f"{value:{form}}")


def samples_cell(entry: Entry) -> Cell:
    """How many samples were asked, and how many of them failed."""
    return Cell(f"{entry['n']} ({entry['failed']} failed)" if entry["failed"] else str(entry["n"]))
