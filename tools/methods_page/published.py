"""What the paper prints for each method, as the configs of its tables quote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvlmsal.evaluation.config.source import load_content, packaged_configs
from lvlmsal.tables.table import Head, Row, Table

COMPARISONS = ("paper/table1", "paper/table2", "paper/table4")
"""How the names of configs of tables begin that compare methods; others try options of one."""

HEADS = [
    Head(title, words=True)
    for title in ("table", "checkpoint", "the paper's row", "benchmarks", "the paper's figures")
]


def names_of(method: Mapping[str, Any]) -> list[str]:
    """The registered names that a method of a config is made of, its decoder first.

    >>> names_of({"decoder": "greedy", "interventions": ["vcd", {"name": "pai", "alpha": 0.2}]})
    ['greedy', 'vcd', 'pai']
    """
    parts = [method["decoder"], *method.get("interventions", ())]
    return [part if isinstance(part, str) else part["name"] for part in parts]


def published(known: set[str]) -> dict[str, Table]:
    """By registered name, what the paper prints for methods in which nothing else acts.

    Args:
        known: Names of what does something against hallucinations.
    """
    rows: dict[str, dict[tuple[str, ...], Row]] = {}
    for config in packaged_configs():
        if not config.startswith(COMPARISONS):
            continue
        content, _ = load_content(config)
        parts = {
            method["name"]: [name for name in names_of(method) if name in known]
            for method in content["methods"]
            if not isinstance(method, str)
        }
        paper = content["paper"]
        for row in paper["rows"]:
            if len(acting := parts.get(row["method"], [])) != 1:
                continue
            unit = " %" if row.get("unit", "percent") == "percent" else ""
            figures = ", ".join(f"{name} {of:g}{unit}" for name, of in row["figures"].items())
            cells = (
                f"{paper['table']} of {paper['source']}",
                row.get("model") or content["models"][0]["source"],
                row.get("row") or "-",
                ", ".join(row["benchmarks"]),
                figures,
            )
            rows.setdefault(acting[0], {})[cells] = Row.of(cells)
    return {name: Table("", HEADS, list(found.values())) for name, found in rows.items()}
