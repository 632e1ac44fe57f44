"""Published figures next to a run's own: how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lvlmsal.evaluation.config.paper import UNITS, PaperConfig, PaperRow
from lvlmsal.evaluation.report.entries import number_cell, shown_cells
from lvlmsal.evaluation.results.schema import PaperEntry, Results
from lvlmsal.tables.table import Head, Row, Table


def compared_with_paper(paper: PaperConfig | None, results: Results) -> list[PaperEntry]:
    """Each published figure of a run with ours, in the paper's unit.

    Args:
        paper: What the config says.
        results: The content of ``results.json``.
    """
    ours = {
        (cell["model"], cell["method"], cell["benchmark"]): {
            name: figure["value"] for name, figure in cell["figures"].items()
        }
        for cell in shown_cells(results)
    }
    return compared(paper, paper.rows if paper else [], ours)


def compared(
    paper: PaperConfig | None,
    rows: Iterable[PaperRow],
    figures: Mapping[tuple[str, str, str], Mapping[str, float | None]],
) -> list[PaperEntry]:
    """Each published figure with ours, in the paper's unit.

    Args:
        paper: What the config says.
        rows: Those of its rows that are about `figures`.
        figures: Ours, by model, method and benchmark, and then by name.

    Returns:
        One entry for each figure of each row, with ``paper``, ``ours`` and their ``difference``;
        the last two are None where the run lacks an answer or the figure is undefined.
    """
    only = next((model for model, _, _ in figures), "")
    entries: list[PaperEntry] = []
    for row in rows:
        for figure, value in row.figures.items():
            cells = [
                figures.get((row.model or only, row.method, label), {}) for label in row.benchmarks
            ]
            ours = _mean([cell.get(figure) for cell in cells])
            if ours is not None:
                ours *= UNITS[row.unit]
            entries.append(
                {
                    "source": paper.source if paper else "",
                    "table": paper.table if paper else "",
                    "row": row.row,
                    "model": row.model or only,
                    "method": row.method,
                    "benchmarks": list(row.benchmarks),
                    "figure": figure,
                    "unit": row.unit,
                    "paper": value,
                    "ours": ours,
                    "difference": None if ours is None else ours - value,
                }
            )
    return entries


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def paper_table(results: Results) -> Table | None:
    """The published figures next to a run's own; None where the config gives none.

    Args:
        results: The content of ``results.json``.
    """
    return entries_table(results.get("paper") or [])


def entries_table(entries: Sequence[PaperEntry]) -> Table | None:
    """Published figures next to ours; None where there are none.

    Args:
        entries: See `compared`.
    """
    if not entries:
        return None
    heads = [
        *(Head(title, words=True) for title in ("model", "method", "benchmark", "figure")),
        *map(Head, ("paper", "ours", "ours - paper")),
        Head("paper's row", words=True),
    ]
    title = f"Compared with {entries[0]['table']} of {entries[0]['source']}"
    notes = [
        "The paper's figures are quoted from its text. Data, prompt, decoding and scoring may "
        "differ from ours; no figure of ours depends on them."
    ]
    return Table(title, heads, [_row(entry) for entry in entries], notes)


def _row(entry: PaperEntry) -> Row:
    several = len(entry["benchmarks"]) > 1
    # as many decimals as the paper gives, one at least
    decimals = max(len(f"{entry['paper']:g}".partition(".")[2]), 1)
    return Row.of(
        [
            *(entry["model"], entry["method"]),
            ("mean of " if several else "") + ", ".join(entry["benchmarks"]),
            entry["figure"] + (" %" if entry["unit"] == "percent" else ""),
            number_cell(entry["paper"], "g"),
            number_cell(entry["ours"], f".{decimals}f"),
            number_cell(entry["difference"], f"+.{decimals}f"),
            entry["row"] or "-",
        ]
    )
