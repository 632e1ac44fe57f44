"""How the rows and pairs of a benchmark are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvlmsal.comparisons.pairs import Pair
from lvlmsal.comparisons.reading import Row as RunRow
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
            if any(figure in entry["figures"] for entry in entries)
        ]
        return tuple(chosen) or usual

    @property
    def varying(self) -> list[str]:
        """What rows differ in, out of ``run``, ``model`` and ``method``."""
        kinds = ("run", "model", "method")
        return [kind for kind in kinds if len({getattr(row, kind) for row in self.rows}) > 1]

    def shows(self, figure: str) -> bool:
        """Whether a figure was asked for; all are where there is none of those that were."""
        known = set(self.figures) & {name for row in self.rows for name in row.entry["figures"]}
        return not known or figure in known

    def pair_titles(self, pair: Pair) -> list[str]:
        """The rows of a pair by what tells them from others, such as ``llava with vcd``.

        The second is called by that in which it is not the first one.
        """
        kinds = self.varying
        other = [kind for kind in kinds if getattr(pair.row, kind) != getattr(pair.other, kind)]
        return [_title(pair.row, kinds), _title(pair.other, other)]


def _title(row: RunRow, kinds: Sequence[str]) -> str:
    name = " with ".join(getattr(row, kind) for kind in ("model", "method") if kind in kinds)
    return ": ".join(part for part in (row.run if "run" in kinds else "", name) if part)


def row_table(block: Block) -> Table:
    """The rows of a benchmark."""
    columns = block.columns
    entries = [row.entry for row in block.rows]
    first = [kind for kind in ("run", "model") if kind in block.varying]
    heads = [
        *(Head(title, words=True) for title in (*first, "method")),
        *figure_heads(columns, entries, first=len(first) + 1),
        *against_heads(method=len(first)),
        *map(Head, ("n", "ms/token")),
    ]
    rows = [
        Row.of(
            [
                *(getattr(row, kind) for kind in first),
                name_of(row.entry),
                *figure_cells(row.entry, columns),
                *against_cells(row.entry),
                samples_cell(row.entry),
                number_cell(row.entry["cost"]["ms_per_token"], ".1f"),
            ]
        )
        for row in block.rows
    ]
    model = "" if "model" in first else f" with {block.rows[0].model}"
    return Table(f"{block.benchmark}: {entries[0]['metric']}{model}", heads, rows)


def pair_table(block: Block) -> Table:
    """The pairs of a benchmark."""
    columns = [column for column in block.columns if not column.bare]
    heads = [
        *(Head(title, words=True) for title in ("row", "against")),
        *(Head(f"Δ {column.title}") for column in columns),
        Head("changed"),
        Head("tokens changed", terminal=False),
        Head("McNemar p", below=1, prefix=" McNemar p "),
        Head("pairs"),
    ]
    rows = [
        Row.of(
            [
                *block.pair_titles(pair),
                *(difference_cell(pair.found["differences"].get(c.figure), c) for c in columns),
                count_cell(pair.found["changed"]),
                count_cell(pair.found["tokens_changed"]),
                p_cell(pair.found["mcnemar"]),
                count_cell(pair.found["pairs"]),
            ]
        )
        for pair in block.pairs
    ]
    return Table(f"{block.benchmark}: between runs and models", heads, rows)
