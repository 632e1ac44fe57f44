"""What the answers of each method took, and how much of them is not its twin's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvlmsal.evaluation.report.grid import Grid, markdown_grid
from lvlmsal.evaluation.report.table import against_text, name_of, shown_cells

_HEADS = ("model", "method", "benchmark", "against", "changed answers", "changed tokens")
_COSTS = ("tokens", "ms/token", "passes/token", "peak MB")


REMARK = (
    "Changed tokens: positions at which an answer's tokens are not those of the other method or "
    "that only one of the two has. Passes are those of the whole batch."
)


def cost_grid(results: Mapping[str, Any]) -> Grid | None:
    """A table of costs and changes; None where nothing was answered.

    Args:
        results: The content of ``results.json``.
    """
    rows = []
    for cell in shown_cells(results):
        cost, tokens = cell["cost"], cell["tokens_changed"]
        peak = cost["peak_memory"]
        rows.append(
            [
                *(cell["model"], name_of(cell), cell["benchmark"], against_text(cell) or "-"),
                *("-" if count is None else str(count) for count in (cell["changed"], tokens)),
                str(cell["new_tokens"]),
                *(_number(cost[key]) for key in ("ms_per_token", "forwards_per_token")),
                "-" if peak is None else f"{peak / 1e6:.0f}",
            ]
        )
    return Grid("Costs and changes", [*_HEADS, *_COSTS], rows, names=4) if rows else None


def cost_markdown(results: Mapping[str, Any]) -> str:
    """`cost_grid` in Markdown; empty where nothing was answered.

    Args:
        results: The content of ``results.json``.
    """
    grid = cost_grid(results)
    if grid is None:
        return ""
    head, *lines = markdown_grid(grid)
    return "\n".join(["\n" + head, *lines, "\n" + REMARK]) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
