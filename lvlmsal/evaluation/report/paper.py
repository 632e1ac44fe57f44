"""Published figures next to a run's own: how they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from lvlmsal.evaluation.config.paper import UNITS, PaperConfig
from lvlmsal.evaluation.report.entries import number_cell, shown_cells
from lvlmsal.evaluation.results.schema import PaperEntry, Results
from lvlmsal.tables.table import Head, Row, Table


def compared_with_paper(paper: PaperConfig | None, results: Results) -> list[PaperEntry]:
    """Each published figure with ours, in the paper's unit.

    Args:
        paper: What the config says.
        results: The content of ``results.json``.

    Returns:
        One entry for each figure of each row, with ``paper``, ``ours`` and their ``difference``;
        the last two are None where the run lacks an answer or the figure is undefined.
    """
    cells = {(c["model"], c["method"], c["benchmark"]): c for c in shown_cells(results)}
    only = next(iter(dict.fromkeys(model for model, _, _ in cells)), "")
    entries: list[PaperEntry] = []
    for row in paper.rows if paper else []:
        for figure, value in row.figures.items():
            keys = [(row.model or only, row.method, label) for label in row.benchmarks]
            ours = _mean([cells[key]["figures"][figure]["value"] for key in keys if key in cells])
            if ours is not None and all(key in cells for key in keys):
                ours *= UNITS[row.unit]
            else:
                ours = None
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
    """The published figures next to ours; None where the config gives none.

    Args:
        results: The content of ``results.json``.
    """
    entries = results.get("paper") or []
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
    return Row.of(
        [
            *(entry["model"], entry["method"]),
            ("mean of " if several else "") + ", ".join(entry["benchmarks"]),
            entry["figure"] + (" %" if entry["unit"] == "percent" else ""),
            number_cell(entry["paper"], "g"),
            number_cell(entry["ours"], ".1f"),
            number_cell(entry["difference"], "+.1f"),
            entry["row"] or "-",
        ]
    )
