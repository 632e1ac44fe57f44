"""How analyses write and print what they found."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from lvlmsal.errors import ConfigError
from lvlmsal.escaping import csv_cell
from lvlmsal.statistics.intervals import Interval
from lvlmsal.tables.table import Cell as TableCell
from lvlmsal.tables.table import Head, Row, Table

Cell = tuple[str, str, str]
"""Model, method and benchmark: what is compared is compared within one."""

Line = list[str | TableCell]
"""A row of a table."""


def made_folder(folder: Path) -> Path:
    """The folder that an analysis writes into, made if need be.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([f"--out: {folder} cannot be made: {error.strerror}"]) from error
    return folder


def title_of(cell: Cell) -> str:
    """How tables, plots and notes call a model, method and benchmark."""
    return " · ".join(cell)


def counts(correct: Sequence[bool]) -> tuple[int, int]:
    """How many mentions are correct, and how many are not."""
    return sum(correct), len(correct) - sum(correct)


def numbers(interval: Interval | None) -> tuple[float | None, float | None, float | None]:
    """Value and bounds for three columns of a table, empty where there is no interval."""
    return (interval.value, interval.low, interval.high) if interval else (None, None, None)


def interval_cell(interval: Interval | None, sign: str = "") -> TableCell:
    """Value and bounds in a table; `sign` is ``"+"`` for differences.

    Example:
        >>> interval_cell(Interval(0.25, 0.1, 0.4, 20), "+").parts
        ['+0.250', '[+0.100, +0.400]']
    """
    if interval is None:
        return TableCell("")
    value, low, high = (f"{number:{sign}.3f}" for number in numbers(interval))
    return TableCell(value, f"[{low}, {high}]")


def new_table(title: str, heads: Sequence[str], rows: Iterable[Line]) -> Table:
    """A table whose first column holds words, and the others numbers."""
    first, *others = heads
    return Table(title, [Head(first, words=True), *map(Head, others)], [Row.of(r) for r in rows])


def write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Write a table: truth values as 1 and 0, floats with nine digits, nothing for None and nan."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(csv_cell, header))
        writer.writerows([_cell(value) for value in line] for line in lines)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return "" if value != value else f"{value:.9g}"
    return "" if value is None else csv_cell(value)
