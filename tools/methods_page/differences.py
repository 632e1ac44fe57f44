"""What a run found of its methods: differences in short, and how many of them chance explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlmsal.compare.pairs import compared
from lvlmsal.compare.reading import Row, read_rows
from lvlmsal.errors import UnknownName
from lvlmsal.escaping import Markdown, markdown_text
from lvlmsal.evaluation.config.controls import way_of
from lvlmsal.evaluation.report.grid import markdown_row
from lvlmsal.evaluation.report.table import (
    columns_of,
    difference_text,
    heading_of,
    is_clear,
    shown_cells,
)
from lvlmsal.metrics.columns import Column

Cell = Mapping[str, Any]

CHANCE = 0.05
"""How many of the intervals leave zero out although nothing is there."""


@dataclass(frozen=True)
class Difference:
    """What a method does otherwise than another on one benchmark, in the benchmark's first figure.

    Attributes:
        cell: The cell, with the difference in its figure.
        column: The figure.
    """

    cell: Cell
    column: Column

    @property
    def text(self) -> str:
        """With its interval, bold where that leaves zero out."""
        text = difference_text(self.cell, self.column) or "-"
        return Markdown(f"**{markdown_text(text)}**") if is_clear(self.cell, self.column) else text

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``unclear``, or ``same`` where no answer differs."""
        if self.cell["changed"] == 0:
            return "same"
        if not is_clear(self.cell, self.column):
            return "unclear"
        figure = self.cell["figures"][self.column.figure]
        return "better" if (figure["difference"]["value"] > 0) == self._up else "worse"

    @property
    def _up(self) -> bool:
        return bool(self.cell["figures"][self.column.figure]["higher_is_better"])


def main_column(cells: Sequence[Cell]) -> Column | None:
    """The first figure of a metric's table that says good or bad and is defined.

    Args:
        cells: Of one benchmark.
    """
    for column in columns_of(cells[0]["metric"], cells):
        figures = [cell["figures"][column.figure] for cell in cells]
        if figures[0]["higher_is_better"] is not None and any(
            figure["value"] is not None for figure in figures
        ):
            return column
    return None


def twin_differences(results: Mapping[str, Any]) -> list[Difference]:
    """Every cell that was compared with another one.

    Args:
        results: The content of ``results.json``.
    """
    cells = shown_cells(results)
    found = []
    for benchmark in dict.fromkeys(cell["benchmark"] for cell in cells):
        own = [cell for cell in cells if cell["benchmark"] == benchmark]
        column = main_column(own)
        if column is not None:
            found += [Difference(cell, column) for cell in own if cell["compared_with"] is not None]
    return found


def control_differences(run: Path, results: Mapping[str, Any], control: str) -> list[Difference]:
    """Every cell beside another method of the run that decodes alike, such as a control.

    Args:
        run: The run folder.
        results: The content of its ``results.json``.
        control: Name of that method.

    Raises:
        UnknownName: The run has no such method.
    """
    rows = read_rows(run, run.name)
    if control not in {row.method for row in rows}:
        raise UnknownName("method", control, sorted({row.method for row in rows}))
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
        cell = shown[row.model, row.method, row.benchmark]
        figures = {
            name: {**figure, "difference": pair["differences"].get(name)}
            for name, figure in cell["figures"].items()
        }
        against = {"figures": figures, "compared_with": control, "changed": pair["changed"]}
        column = main_column([cell])
        if column is not None:
            found.append(Difference({**cell, **against}, column))
    return found


def _ask_alike(row: Row, other: Row) -> bool:
    return (row.model, row.benchmark) == (other.model, other.benchmark)


def differences_table(differences: Sequence[Difference]) -> str:
    """One table a model: methods down, benchmarks across.

    Args:
        differences: Of all models.
    """
    lines: list[str] = []
    for model in dict.fromkeys(each.cell["model"] for each in differences):
        own = [each for each in differences if each.cell["model"] == model]
        columns = {each.cell["benchmark"]: each for each in own}
        heads = [f"{name}: Δ {heading_of(d.column, [d.cell])}" for name, d in columns.items()]
        found = {(d.cell["method"], d.cell["benchmark"]): d.text for d in own}
        against = {d.cell["method"]: d.cell["compared_with"] for d in own}
        lines += [f"### {markdown_text(model)}", "", markdown_row(["method", "against", *heads])]
        lines.append(markdown_row(["---", "---", *["---:"] * len(heads)]))
        for method, other in against.items():
            cells = [found.get((method, benchmark), "-") for benchmark in columns]
            lines.append(markdown_row([method, other, *cells]))
        lines.append("")
    return "\n".join(lines)


def chance_text(differences: Sequence[Difference]) -> str:
    """How many differences are clear of zero, and how many would be if nothing were there."""
    verdicts = [each.verdict for each in differences]
    same, total = verdicts.count("same"), len(verdicts)
    asked = total - same
    clear = verdicts.count("better") + verdicts.count("worse")
    return (
        f"{total} differences stand above. In {same} of them no answer differs from the twin's. Of "
        f"the other {asked}, {clear} have an interval that leaves zero out: "
        f"{verdicts.count('better')} for the better and {verdicts.count('worse')} for the worse. "
        f"If no method did anything for these figures, 95 % intervals would leave zero out in "
        f"about {CHANCE * asked:.0f} of {asked} cases by chance, half of them for the better. No "
        "correction for that is made, and the comparisons are not independent: rows of one model "
        "share their questions and their twin."
    )


def verdicts_table(differences: Sequence[Difference]) -> str:
    """For each method, on how many benchmarks and models it is clearly better or worse."""
    kinds = ("better", "worse", "unclear", "same")
    lines = [markdown_row(["method", *kinds[:3], "no answer changed"])]
    lines.append(markdown_row(["---", *["---:"] * 4]))
    for method in dict.fromkeys(each.cell["method"] for each in differences):
        own = [each.verdict for each in differences if each.cell["method"] == method]
        lines.append(markdown_row([method, *(str(own.count(kind)) for kind in kinds)]))
    return "\n".join(lines)
