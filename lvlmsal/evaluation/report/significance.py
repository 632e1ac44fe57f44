"""Which differences of a run are significant: what its report opens with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lvlmsal.evaluation.report.entries import (
    against_cell,
    columns_of,
    difference_cell,
    heading_of,
    is_significant,
    name_of,
    p_cell,
    shown_cells,
    verdict,
)
from lvlmsal.evaluation.results.schema import Bounds, Entry, Results
from lvlmsal.metrics.columns import Column
from lvlmsal.tables.table import NONE, Cell, Head, Row, Table


class _Compared(NamedTuple):
    """A figure of a row with its paired difference to the row's control."""

    entry: Entry
    column: Column
    difference: Bounds


def significance_table(results: Results) -> Table:
    """The significant differences of a run: those in bold in its tables, the good ones first.

    A difference is significant where its 95 % interval excludes 0. The title counts them, and the
    table has no rows where there are none.

    Args:
        results: The content of ``results.json``.
    """
    compared = list(_compared(results))
    found = [each for each in compared if is_significant(each.difference)]
    found.sort(key=lambda each: _VERDICTS.index(_verdict(each)))
    heads = [
        *(Head(title, words=True) for title in ("verdict", "method", "figure")),
        Head("Δ"),
        *(Head(title, words=True) for title in ("against", "benchmark", "model")),
        Head("McNemar p"),
    ]
    control = repr(results["baseline"]) if results["baseline"] else "controls"
    return Table(
        _title(compared, found, control), heads, [_row(each) for each in found], _notes(compared)
    )


CHANCE = 0.05
"""How many of the intervals exclude 0 although nothing is there."""

_VERDICTS = ("better", "worse", "different")


def _compared(results: Results) -> Iterator[_Compared]:
    """Every difference that the tables of the run show."""
    for entry in shown_cells(results):
        for column in columns_of(entry["metric"], [entry]):
            difference = entry["figures"][column.figure]["difference"]
            if not column.bare and difference is not None and difference["value"] is not None:
                yield _Compared(entry, column, difference)


def _title(compared: list[_Compared], found: list[_Compared], control: str) -> str:
    if not compared:
        return "No row of this run is compared with a control"
    count = str(len(found)) if found else "None"
    verb = "are" if len(found) > 1 else "is"
    return f"{count} of {len(compared)} differences to {control} {verb} significant"


def _notes(compared: list[_Compared]) -> list[str]:
    """What to keep in mind of so many comparisons."""
    if not compared:
        return []
    changed = [each for each in compared if each.entry["changed"] != 0]
    meaning = "Significant: the 95 % interval of the paired difference excludes 0."
    if not changed:
        return [meaning, "No method changed an answer of its control."]
    return [
        f"{meaning} If no method did anything, chance would still make about "
        f"{CHANCE * len(changed):.0f} of the {len(changed)} differences where answers changed "
        "significant (5 %)."
    ]


def _verdict(compared: _Compared) -> str:
    figure = compared.entry["figures"][compared.column.figure]
    return verdict(compared.difference, figure["higher_is_better"])


def _row(compared: _Compared) -> Row:
    entry, column, difference = compared
    test = entry.get("mcnemar")
    shown = difference_cell(difference, column)
    return Row.of(
        [
            *(_verdict(compared), name_of(entry)),
            " ".join(heading_of(column, [entry]).parts),
            Cell(shown.text, shown.interval),
            *(against_cell(entry), entry["benchmark"], entry["model"]),
            p_cell(test) if test is not None and test["figure"] == column.figure else NONE,
        ]
    )
