"""The tables of a sweep: one for each model and benchmark, a section for each grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lvlmsal.escaping import markdown_text
from lvlmsal.evaluation.report.grid import Grid as TextGrid
from lvlmsal.evaluation.report.grid import markdown_grid
from lvlmsal.evaluation.report.table import columns_of, difference_text, heading_of, value_text
from lvlmsal.evaluation.report.terminal import NARROW, shown, terminal_text
from lvlmsal.metrics.columns import Column
from lvlmsal.sweeps import axes
from lvlmsal.sweeps.axes import Grid
from lvlmsal.sweeps.costs import Cost


@dataclass(frozen=True)
class Measured:
    """One method of a sweep on one model and benchmark.

    Attributes:
        cell: Its figures, an entry of ``results.json``.
        cost: What its answers took.
        options: The options that it was answered with, by ``component.option``.
    """

    cell: Mapping[str, Any]
    cost: Cost
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """What one table shows: one model on one benchmark.

    Attributes:
        model: Name of the model.
        benchmark: Label of the benchmark.
        columns: The figures.
        methods: What was measured, by name of the method.
    """

    model: str
    benchmark: str
    columns: tuple[Column, ...]
    methods: Mapping[str, Measured]

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
    return [
        Block(model, benchmark, _columns(methods), methods)
        for (model, benchmark), methods in found.items()
    ]


def heading(block: Block, column: Column) -> str:
    """A column's title with direction and unit."""
    return heading_of(column, [entry.cell for entry in block.methods.values()])


def cost_text(cost: Cost, name: str) -> str:
    """One cost with two decimals, or a dash."""
    value: float | None = getattr(cost, name)
    return "-" if value is None else f"{value:.{3 if name == 'saliency' else 2}f}"


def terminal_tables(
    measured: Sequence[Measured],
    grids: Sequence[Grid],
    results: Mapping[str, Any],
    *,
    width: int = 140,
) -> RenderableType:
    """Tables for a terminal.

    Args:
        measured: Every method on every model and benchmark.
        grids: The grids.
        results: The content of ``results.json``.
        width: Of the terminal, in characters.
    """
    gap = " " if width >= NARROW else "\n"
    parts: list[RenderableType] = []
    for block in blocks(measured):
        title = f"{block.model}: {block.benchmark}"
        table = Table(title=shown(title), title_justify="left", pad_edge=False)
        table.add_column("point")
        for column in block.columns:
            table.add_column(shown(heading(block, column)), justify="right")
        for _, text in block.costs:
            table.add_column(text, justify="right")
        section = ""
        for group, point, entry in _rows(block, grids):
            if group != section:
                section = group
                table.add_section()
                table.add_row(shown(group, style="bold italic"))
            figures = [terminal_text(entry.cell, column, gap) for column in block.columns]
            costs = [cost_text(entry.cost, name) for name, _ in block.costs]
            table.add_row(shown(point), *figures, *costs)
        parts += [table, Text()]
    parts.append(shown(_legend(measured, results), style="dim"))
    parts += [shown(f"note: {warning}", style="yellow") for warning in results["warnings"]]
    return Group(*parts)


def markdown_tables(
    measured: Sequence[Measured], grids: Sequence[Grid], results: Mapping[str, Any]
) -> str:
    """The same tables in Markdown.

    Args:
        measured: Every method on every model and benchmark.
        grids: The grids.
        results: The content of ``results.json``.
    """
    lines: list[str] = []
    for block in blocks(measured):
        heads = ["sweep", "point"]
        for column in block.columns:
            heads.append(heading(block, column))
            if not column.bare:
                heads.append(f"Δ {column.title}")
        heads += [text for _, text in block.costs]
        rows = []
        for group, point, entry in _rows(block, grids):
            row = [group, point]
            for column in block.columns:
                row.append(value_text(entry.cell, column))
                if not column.bare:
                    row.append(difference_text(entry.cell, column) or "-")
            row += [cost_text(entry.cost, name) for name, _ in block.costs]
            rows.append(row)
        title = f"{block.model}: {block.benchmark}"
        lines += [*markdown_grid(TextGrid(title, heads, rows, names=2)), ""]
    lines.append(markdown_text(_legend(measured, results)))
    return "\n".join(lines) + "\n"


def _columns(methods: Mapping[str, Measured]) -> tuple[Column, ...]:
    cells = [entry.cell for entry in methods.values()]
    return columns_of(cells[0]["metric"], cells)


def _rows(block: Block, grids: Sequence[Grid]) -> Iterator[tuple[str, str, Measured]]:
    """Section, point and what was measured there; ordinary methods come first."""
    points = {point.method for grid in grids for point in grid.points}
    for name, entry in block.methods.items():
        if name not in points:
            yield "", name, entry
    for grid in grids:
        for point in grid.points:
            yield grid.title, ", ".join(map(axes.shown, point.values)), block.methods[point.method]


def _legend(measured: Sequence[Measured], results: Mapping[str, Any]) -> str:
    sizes = sorted({entry.cost.batch_size for entry in measured})
    batches = " to ".join(map(str, sizes if len(sizes) == 1 else (sizes[0], sizes[-1])))
    rows = {cell["saliency_row"] for cell in results["cells"] if "saliency_row" in cell}
    tries = any(entry.cost.tries is not None for entry in measured)
    return (
        f"In brackets: 95 % intervals. Δ: paired difference to {results['baseline']!r}. "
        "ms/token: wall-clock time of a batch over its tokens, median of the batches (of at most "
        f"{batches}), a reading on this machine and no benchmark."
        + (" tries/token: candidates looked at." if tries else "")
        # Where it is swept over itself, the points say it.
        + (f" S is read from the {next(iter(rows))} row." if len(rows) == 1 else "")
    )
