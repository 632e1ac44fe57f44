"""How the rows and pairs of a benchmark are laid out."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvlmsal.comparisons.pairs import Pair
from lvlmsal.comparisons.reading import Row as RunRow
from lvlmsal.escaping import csv_cell
from lvlmsal.evaluation.report.entries import (
    against_cells,
    against_heads,
    columns_of,
    count_cell,
    difference_cell,
    figure_cells,
    figure_heads,
    name_of,
    number_cell,
    p_cell,
    samples_cell,
)
from lvlmsal.metrics.columns import Column
from lvlmsal.tables.table import Head, Row, Table


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
    rows: tuple[RunRow, ...]
    pairs: tuple[Pair, ...]
    figures: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The figures that a table shows."""
        entries = [row.entry for row in self.rows]
        usual = columns_of(entries[0]["metric"], entries)
        named = {column.figure: column for column in usual}
        chosen = [
            named.get(figure, Column(figure, figure, percent=False))
            for figure in self.figures
            if figure in entries[0]["figures"]
        ]
        return tuple(chosen) or usual


def row_table(block: Block) -> Table:
    """The rows of a benchmark."""
    columns = block.columns
    entries = [row.entry for row in block.rows]
    heads = [
        *(Head(title, words=True) for title in ("run", "model", "method")),
        *figure_heads(columns, entries, first=3),
        *against_heads(method=2),
        *map(Head, ("n", "ms/token")),
    ]
    rows = [
        Row.of(
            [
                *(row.run, row.model, name_of(row.entry)),
                *figure_cells(row.entry, columns),
                *against_cells(row.entry),
                samples_cell(row.entry),
                number_cell(row.entry["cost"]["ms_per_token"], ".1f"),
            ]
        )
        for row in block.rows
    ]
    return Table(f"{block.benchmark}: {entries[0]['metric']}", heads, rows)


def pair_table(block: Block) -> Table:
    """The pairs of a benchmark."""
    columns = [column for column in block.columns if not column.bare]
    heads = [
        *(Head(title, words=True) for title in ("row", "against")),
        *(Head(f"Δ {column.title}") for column in columns),
        *map(Head, ("changed", "tokens changed", "McNemar p", "pairs")),
    ]
    rows = [
        Row.of(
            [
                *(pair.row.title, pair.other.title),
                *(difference_cell(pair.found["differences"][c.figure], c) for c in columns),
                count_cell(pair.found["changed"]),
                count_cell(pair.found["tokens_changed"]),
                p_cell(pair.found["mcnemar"]),
                count_cell(pair.found["pairs"]),
            ]
        )
        for pair in block.pairs
    ]
    return Table(f"{block.benchmark}: between runs and models", heads, rows)


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


def _csv_head(row: RunRow, figure: str) -> dict[str, Any]:
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
