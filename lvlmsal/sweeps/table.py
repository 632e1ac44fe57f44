"""The tables of a sweep: one for each model and benchmark, a section for each grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvlmsal.evaluation.report.entries import (
    any_significant,
    columns_of,
    figure_cells,
    figure_heads,
    heading_of,
    number_cell,
)
from lvlmsal.evaluation.report.legend import SIGNIFICANT
from lvlmsal.evaluation.report.paper import paper_table
from lvlmsal.evaluation.results.schema import Entry, Results
from lvlmsal.metrics.columns import Column
from lvlmsal.sweeps import axes
from lvlmsal.sweeps.axes import Grid
from lvlmsal.sweeps.costs import Cost
from lvlmsal.tables.table import Cell, Head, Row, Table


@dataclass(frozen=True)
class Measured:
    """One method of a sweep on one model and benchmark.

    Attributes:
        cell: Its figures, an entry of ``results.json``.
        cost: What its answers took.
        options: The options that it was answered with, by ``component.option``.
    """

    cell: Entry
    cost: Cost
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """What one table shows: one model on one benchmark.

    Attributes:
        model: Name of the model.
        benchmark: Label of the benchmark.
        methods: What was measured, by name of the method.
    """

    model: str
    benchmark: str
    methods: Mapping[str, Measured]

    @property
    def entries(self) -> list[Entry]:
        """The figures of the methods."""
        return [entry.cell for entry in self.methods.values()]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The figures that its table shows."""
        return columns_of(self.entries[0]["metric"], self.entries)

    @property
    def costs(self) -> list[tuple[str, str]]:
        """The costs that any method has, as attribute and heading."""
        known = {
            "tries": "tries/token",
            "saliency": "mean S",
            "ms_per_token": "ms/token",
        }
        return [
            (name, heading)
            for name, heading in known.items()
            if any(getattr(m.cost, name) is not None for m in self.methods.values())
        ]


def blocks(measured: Sequence[Measured]) -> list[Block]:
    """What was measured, by model and benchmark, in the order of the run."""
    found: dict[tuple[str, str], dict[str, Measured]] = {}
    for entry in measured:
        key = entry.cell["model"], entry.cell["benchmark"]
        found.setdefault(key, {})[entry.cell["method"]] = entry
    return [Block(model, benchmark, methods) for (model, benchmark), methods in found.items()]


def heading(block: Block, column: Column) -> str:
    """A column's title with direction and unit."""
    return " ".join(heading_of(column, block.entries).parts)


def tables(measured: Sequence[Measured], grids: Sequence[Grid], results: Results) -> list[Table]:
    """A table for each model and benchmark, with a section for each grid.

    The last one is that of a paper's figures, where the config gives some.
    """
    found = []
    for block in blocks(measured):
        heads = [
            Head("sweep", words=True, terminal=False),
            Head("point", words=True),
            *figure_heads(block.columns, block.entries, first=2),
            *(Head(title) for _, title in block.costs),
        ]
        rows = [
            Row.of(
                [
                    *(group, point),
                    *figure_cells(entry.cell, block.columns),
                    *(_cost(entry.cost, name) for name, _ in block.costs),
                ],
                group,
            )
            for group, point, entry in _rows(block, grids)
        ]
        found.append(Table(f"{block.model}: {block.benchmark}", heads, rows))
    printed = paper_table(results)
    return found if printed is None else [*found, printed]


def _cost(cost: Cost, name: str) -> Cell:
    return number_cell(getattr(cost, name), ".3f" if name == "saliency" else ".2f")


def _rows(block: Block, grids: Sequence[Grid]) -> Iterator[tuple[str, str, Measured]]:
    """Section, point and what was measured there; ordinary methods come first."""
    points = {point.method for grid in grids for point in grid.points}
    for name, entry in block.methods.items():
        if name not in points:
            yield "", name, entry
    for grid in grids:
        for point in grid.points:
            yield grid.title, ", ".join(map(axes.shown, point.values)), block.methods[point.method]


def legend(measured: Sequence[Measured], results: Results) -> str:
    """What the columns of the tables mean."""
    sizes = sorted({entry.cost.batch_size for entry in measured})
    batches = " to ".join(map(str, sizes if len(sizes) == 1 else (sizes[0], sizes[-1])))
    rows = {cell["saliency_row"] for cell in results["cells"] if "saliency_row" in cell}
    tries = any(entry.cost.tries is not None for entry in measured)
    return (
        f"In brackets: 95 % intervals. Δ: paired difference to {results['baseline']!r}."
        f"{SIGNIFICANT if any_significant(entry.cell for entry in measured) else ''} "
        "ms/token: wall-clock time of a batch over its tokens, median of the batches (of at most "
        f"{batches}), a reading on this machine and no benchmark."
        + (" tries/token: candidates looked at." if tries else "")
        # Where it is swept over itself, the points say it.
        + (f" S is read from the {next(iter(rows))} row." if len(rows) == 1 else "")
    )
