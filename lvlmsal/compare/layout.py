"""How the rows and pairs of a benchmark are laid out."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from lvlmsal.compare.pairs import Pair
from lvlmsal.compare.reading import Row
from lvlmsal.escaping import csv_cell, visible
from lvlmsal.evaluation.report.grid import Grid
from lvlmsal.evaluation.report.table import (
    against_text,
    columns_of,
    difference_text,
    heading_of,
    name_of,
    p_text,
    value_text,
)
from lvlmsal.evaluation.report.terminal import shown, terminal_text
from lvlmsal.metrics.columns import Column


@dataclass(frozen=True)
class Block:
    """The rows of one benchmark.

    Attributes:
        benchmark: Its label.
        rows: Rows under the same metric.
        pairs: Differences between rows of different runs or models.
        figures: Names of the figures to show; those of the metric's table where it has none of
            them.
    """

    benchmark: str
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    figures: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The figures that a table shows."""
        entries = [row.entry for row in self.rows]
        usual = columns_of(str(entries[0]["metric"]), entries)
        named = {column.figure: column for column in usual}
        chosen = [
            named.get(figure, Column(figure, figure, percent=False))
            for figure in self.figures
            if figure in entries[0]["figures"]
        ]
        return tuple(chosen) or usual


def row_grid(block: Block) -> Grid:
    """The rows of a benchmark as texts."""
    columns = block.columns
    entries = [row.entry for row in block.rows]
    heads = ["run", "model", "method"]
    for column in columns:
        heads.append(heading_of(column, entries))
        if not column.bare:
            heads.append(f"Δ {column.title}")
    heads += ["against", "changed", "McNemar p", "n", "ms/token"]
    rows = []
    for row in block.rows:
        texts = [row.run, row.model, name_of(row.entry)]
        for column in columns:
            texts.append(value_text(row.entry, column))
            if not column.bare:
                texts.append(difference_text(row.entry, column) or "-")
        changed = row.entry["changed"]
        texts += [
            against_text(row.entry) or "-",
            "-" if changed is None else str(changed),
            p_text(row.entry) or "-",
            _count(row.entry),
            _cost(row.entry),
        ]
        rows.append(texts)
    return Grid(f"{block.benchmark}: {entries[0]['metric']}", heads, rows, names=3)


def pair_grid(block: Block) -> Grid:
    """The pairs of a benchmark as texts."""
    columns = [column for column in block.columns if not column.bare]
    heads = ["row", "against", *(f"Δ {column.title}" for column in columns)]
    heads += ["changed", "tokens changed", "McNemar p", "pairs"]
    rows = []
    for pair in block.pairs:
        found = pair.found
        figures = {name: {"difference": value} for name, value in found["differences"].items()}
        tokens = found["tokens_changed"]
        rows.append(
            [
                pair.row.title,
                pair.other.title,
                *(difference_text({"figures": figures}, column) or "-" for column in columns),
                str(found["changed"]),
                "-" if tokens is None else str(tokens),
                p_text(found) or "-",
                str(found["pairs"]),
            ]
        )
    return Grid(f"{block.benchmark}: between runs and models", heads, rows, names=2)


def pair_table(block: Block) -> Table:
    """The pairs of a benchmark for a terminal."""
    grid = pair_grid(block)
    table = Table(title=shown(grid.title), title_justify="left", pad_edge=False)
    for place, head in enumerate(grid.heads):
        table.add_column(shown(head), justify="left" if place < grid.names else "right")
    for row in grid.rows:
        table.add_row(*map(shown, row))
    return table


def row_table(block: Block, gap: str) -> Table:
    """The rows of a benchmark for a terminal; ``gap`` stands before intervals."""
    grid = row_grid(block)
    entries = [row.entry for row in block.rows]
    table = Table(title=shown(grid.title), title_justify="left", pad_edge=False)
    for head in ("run", "model", "method"):
        table.add_column(head)
    for column in block.columns:
        table.add_column(shown(heading_of(column, entries)), justify="right")
    for head in ("n", "ms/token"):
        table.add_column(head, justify="right")
    for row in block.rows:
        method = shown(name_of(row.entry))
        if other := against_text(row.entry):
            method.append(f"\n against {visible(other)}", style="dim")
        figures = [terminal_text(row.entry, column, gap) for column in block.columns]
        names = [shown(row.run), shown(row.model), method]
        table.add_row(*names, *figures, _count(row.entry), _cost(row.entry))
    return table


def _count(entry: Mapping[str, Any]) -> str:
    return f"{entry['n']} ({entry['failed']} failed)" if entry["failed"] else str(entry["n"])


def _cost(entry: Mapping[str, Any]) -> str:
    cost = entry["cost"]["ms_per_token"]
    return "-" if cost is None else f"{cost:.1f}"


def csv_text(blocks: Sequence[Block]) -> str:
    """A line for each row and figure, and for each pair and figure."""
    lines: list[dict[str, Any]] = []
    for block in blocks:
        for row in block.rows:
            for name, figure in row.entry["figures"].items():
                other = row.entry["compared_with"]
                lines.append(
                    {
                        **_csv_head(row, name),
                        **{key: figure.get(key) for key in ("value", "low", "high", "std")},
                        "against": None
                        if other is None
                        else f"{row.run}: {row.model} with {other}",
                        **_csv_difference(figure["difference"], row.entry),
                    }
                )
        for pair in block.pairs:
            for name, difference in pair.found["differences"].items():
                lines.append(
                    {
                        **_csv_head(pair.row, name),
                        "against": pair.other.title,
                        **_csv_difference(difference, pair.found),
                    }
                )
    text = io.StringIO()
    heads = [*_csv_head(blocks[0].rows[0], ""), "value", "low", "high", "std", "against"]
    heads += list(_csv_difference(None, blocks[0].rows[0].entry))
    writer = csv.DictWriter(text, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in line.items()} for line in lines)
    return text.getvalue()


def _csv_head(row: Row, figure: str) -> dict[str, Any]:
    return {
        "run": row.run,
        "model": row.model,
        "method": row.method,
        "benchmark": row.benchmark,
        "seeds": " ".join(str(cell.seed) for cell in row.cells),
        "n": row.entry["n"],
        "failed": row.entry["failed"],
        "figure": figure,
    }


def _csv_difference(
    difference: Mapping[str, Any] | None, found: Mapping[str, Any]
) -> dict[str, Any]:
    test = found.get("mcnemar") or {}
    return {
        "difference": (difference or {}).get("value"),
        "difference_low": (difference or {}).get("low"),
        "difference_high": (difference or {}).get("high"),
        "changed": found.get("changed"),
        "mcnemar_p": test.get("p_value"),
    }
