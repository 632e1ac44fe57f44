"""Published figures beside a run's own: how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from lvlmsal.evaluation.config.paper import UNITS, PaperConfig
from lvlmsal.evaluation.report.grid import Grid, markdown_grid
from lvlmsal.evaluation.report.table import shown_cells
from lvlmsal.evaluation.report.terminal import shown
from lvlmsal.evaluation.results.schema import PaperEntry

_HEADS = ("model", "method", "benchmark", "figure", "paper", "ours", "ours - paper", "paper's row")


def beside_paper(paper: PaperConfig | None, results: Mapping[str, Any]) -> list[PaperEntry]:
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


def paper_grid(results: Mapping[str, Any]) -> Grid | None:
    """The published figures beside ours; None where the config gives none.

    Args:
        results: The content of ``results.json``.
    """
    entries = results.get("paper") or []
    if not entries:
        return None
    rows = [_texts(entry) for entry in entries]
    return Grid(_title(entries), _HEADS, rows, names=4, words=(len(_HEADS) - 1,))


def paper_markdown(results: Mapping[str, Any]) -> str:
    """The published figures beside ours in Markdown; empty where the config gives none.

    Args:
        results: The content of ``results.json``.
    """
    grid = paper_grid(results)
    return "" if grid is None else "\n".join(["", *markdown_grid(grid), "", REMARK, ""])


def paper_table(results: Mapping[str, Any]) -> Table | None:
    """The same for a terminal.

    Args:
        results: The content of ``results.json``.
    """
    grid = paper_grid(results)
    if grid is None:
        return None
    table = Table(title=shown(grid.title), caption=REMARK, title_justify="left", pad_edge=False)
    for place, head in enumerate(_HEADS):
        table.add_column(head, justify="right" if 4 <= place <= 6 else "left")
    for row in grid.rows:
        table.add_row(*map(shown, row))
    return table


REMARK = (
    "The paper's figures are quoted from its text. Data, prompt, decoding and scoring may differ "
    "from ours; no figure of ours depends on them."
)


def _title(entries: Sequence[Mapping[str, Any]]) -> str:
    return f"Beside {entries[0]['table']} of {entries[0]['source']}"


def _texts(entry: Mapping[str, Any]) -> list[str]:
    several = len(entry["benchmarks"]) > 1
    benchmark = ("mean of " if several else "") + ", ".join(entry["benchmarks"])
    unit = " %" if entry["unit"] == "percent" else ""
    ours, difference = entry["ours"], entry["difference"]
    return [
        entry["model"],
        entry["method"],
        benchmark,
        entry["figure"] + unit,
        f"{entry['paper']:g}",
        "-" if ours is None else f"{ours:.1f}",
        "-" if difference is None else f"{difference:+.1f}",
        entry["row"] or "-",
    ]
