"""What the answers of each method took, and how much of them is not its twin's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvlmsal.results.table import against_text, markdown_row, name_of, shown_cells

_HEADS = ("model", "method", "benchmark", "against", "changed answers", "changed tokens")
_COSTS = ("tokens", "ms/token", "passes/token", "peak MB")


def cost_markdown(results: Mapping[str, Any]) -> str:
    """A table of costs and changes in Markdown.

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
    if not rows:
        return ""
    lines = [
        "\n### Costs and changes\n",
        markdown_row([*_HEADS, *_COSTS]),
        markdown_row([*["---"] * 4, *["---:"] * 6]),
        *(markdown_row(row) for row in rows),
        "\nChanged tokens: positions at which an answer's tokens are not those of the other method "
        "or that only one of the two has. Passes are those of the whole batch.",
    ]
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
