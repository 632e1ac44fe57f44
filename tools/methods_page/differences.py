"""What a run found of its methods: differences in short, and how many of them chance explains."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlmsal.comparisons.pairs import compared
from lvlmsal.comparisons.reading import Row as RunRow
from lvlmsal.comparisons.reading import read_rows
from lvlmsal.evaluation.config.controls import way_of
from lvlmsal.evaluation.report.entries import (
    columns_of,
    difference_cell,
    heading_of,
    is_significant,
    shown_cells,
    verdict,
)
from lvlmsal.evaluation.report.significance import CHANCE
from lvlmsal.evaluation.results.schema import Entry, Results
from lvlmsal.metrics.columns import Column
from lvlmsal.tables.table import NONE, Cell, Head, Row, Table


@dataclass(frozen=True)
class Difference:
    """What a method does differently from another on one benchmark, in the first figure.

    Attributes:
        entry: The entry, with the difference in its figure.
        column: The figure.
    """

    entry: Entry
    column: Column

    @property
    def cell(self) -> Cell:
        """The difference with its interval."""
        return difference_cell(self._figure["difference"], self.column)

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``unclear``, or ``same`` where no answer differs."""
        if self.entry["changed"] == 0:
            return "same"
        difference = self._figure["difference"]
        if not is_significant(difference):
            return "unclear"
        return verdict(difference, self._figure["higher_is_better"])

    @property
    def _figure(self) -> Mapping[str, Any]:
        figure: Mapping[str, Any] = self.entry["figures"][self.column.figure]
        return figure


def main_column(entries: Sequence[Entry]) -> Column | None:
    """The first figure of a metric's table that says good or bad and is defined.

    Args:
        entries: Of one benchmark.
    """
    for column in columns_of(entries[0]["metric"], entries):
        figures = [entry["figures"][column.figure] for entry in entries]
        if figures[0]["higher_is_better"] is not None and any(
            figure["value"] is not None for figure in figures
        ):
            return column
    return None


def paired_differences(results: Results) -> list[Difference]:
    """Every entry that was compared with another one, as a rule its control.

    Args:
        results: The content of ``results.json``.
    """
    entries = shown_cells(results)
    found = []
    for benchmark in dict.fromkeys(entry["benchmark"] for entry in entries):
        own = [entry for entry in entries if entry["benchmark"] == benchmark]
        column = main_column(own)
        if column is not None:
            compared_ones = [entry for entry in own if entry["compared_with"] is not None]
            found += [Difference(entry, column) for entry in compared_ones]
    return found


def differences_to(run: Path, results: Results, control: str) -> list[Difference]:
    """Every entry compared with another method of the run that decodes alike.

    Args:
        run: The run folder.
        results: The content of its ``results.json``.
        control: Name of that method; a run without it has nothing to compare.
    """
    rows = read_rows(run, run.name)
    ways = {
        (entry["model"]["name"], entry["method"]): way_of(entry)
        for entry in rows[0].source.environment["cells"].values()
    }
    shown = {(c["model"], c["method"], c["benchmark"]): c for c in shown_cells(results)}
    bootstrap = rows[0].source.config.bootstrap
    found = []
    for row in rows:
        other = next((r for r in rows if _ask_alike(r, row) and r.method == control), None)
        way = ways[row.model, row.method]
        if other is None or row.method == control or way.plain:
            continue
        if way.decoder.twin() != ways[row.model, control].decoder.twin():
            continue
        pair = compared(row, other, samples=bootstrap.samples, seed=bootstrap.seed)
        entry = shown[row.model, row.method, row.benchmark]
        compared_entry = copy.deepcopy(entry)
        for name, figure in compared_entry["figures"].items():
            figure["difference"] = pair["differences"].get(name)
        compared_entry["compared_with"], compared_entry["changed"] = control, pair["changed"]
        column = main_column([entry])
        if column is not None:
            found.append(Difference(compared_entry, column))
    return found


def _ask_alike(row: RunRow, other: RunRow) -> bool:
    return (row.model, row.benchmark) == (other.model, other.benchmark)


def differences_tables(differences: Sequence[Difference]) -> list[Table]:
    """One table a model: methods down, benchmarks across.

    Args:
        differences: Of all models.
    """
    tables = []
    for model in dict.fromkeys(each.entry["model"] for each in differences):
        own = [each for each in differences if each.entry["model"] == model]
        heads = [Head("method", words=True), Head("against", words=True)]
        columns = {each.entry["benchmark"]: each for each in own}
        for benchmark, each in columns.items():
            head = heading_of(each.column, [each.entry])
            heads.append(Head(f"{benchmark}: Δ {head.title}", head.unit))
        found = {(d.entry["method"], d.entry["benchmark"]): d.cell for d in own}
        against = {d.entry["method"]: d.entry["compared_with"] for d in own}
        rows = [
            Row.of([method, other or NONE, *(found.get((method, name), NONE) for name in columns)])
            for method, other in against.items()
        ]
        tables.append(Table(model, heads, rows))
    return tables


def chance_text(differences: Sequence[Difference]) -> str:
    """How many differences are significant, and how many would be if nothing were there."""
    verdicts = [each.verdict for each in differences]
    same, total = verdicts.count("same"), len(verdicts)
    asked = total - same
    significant = verdicts.count("better") + verdicts.count("worse")
    return (
        f"There are {total} differences. In {same} of them no answer differs from the "
        f"control's. Of the other {asked}, {significant} are significant (95 % CI excludes 0): "
        f"{verdicts.count('better')} for the better and {verdicts.count('worse')} for the worse. "
        f"If no method did anything for these figures, 95 % intervals would exclude 0 in about "
        f"{CHANCE * asked:.0f} of {asked} cases by chance, half of them for the better. No "
        "correction for that is made, and the comparisons are not independent: rows of one model "
        "share their questions and their control."
    )


def verdicts_table(differences: Sequence[Difference]) -> Table:
    """For each method, on how many benchmarks and models it is significantly better or worse."""
    kinds = ("better", "worse", "unclear", "same")
    heads = [Head("method", words=True), *map(Head, kinds[:3]), Head("no answer changed")]
    rows = []
    for method in dict.fromkeys(each.entry["method"] for each in differences):
        own = [each.verdict for each in differences if each.entry["method"] == method]
        rows.append(Row.of([method, *(str(own.count(kind)) for kind in kinds)]))
    return Table("", heads, rows)
