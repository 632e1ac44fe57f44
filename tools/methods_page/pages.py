"""The pages about all methods: an index, a page of each, and one of the runs behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lvlmsal.evaluation.report.legend import SIGNIFICANT
from lvlmsal.tables.markdown import markdown_table
from lvlmsal.tables.table import Head, Row, Table
from methods_page.listing import (
    Costs,
    Known,
    known_methods,
    link,
    options_text,
    read_costs,
    traits_table,
)
from methods_page.published import published
from methods_page.run import Runs
from methods_page.text import joined, wrapped

GENERATED = (
    "Generated from the registries, the cost benchmark and runs; no line is written by hand."
)
VERDICTS = ("better", "worse", "unclear", "same")


def method_pages(
    runs: Sequence[Path] = (),
    *,
    costs: Path | None = None,
    controls: Sequence[str] = (),
    command: str = "",
) -> dict[str, str]:
    """Write pages about every registered method, in Markdown.

    Args:
        runs: Run folders, whose results they show.
        costs: The file that ``benchmarks/methods.py`` has left.
        controls: Methods of the runs with which those are compared that decode like them.
        command: What makes the pages, for their readers.

    Returns:
        By path within the folder of the documentation.

    Raises:
        DataError: A run folder or the file is none.
        UnknownName: No run has such a control.
    """
    methods = known_methods()
    measured = read_costs(costs) if costs else None
    found = Runs.read(runs, {method.name for method in methods}) if runs else None
    prints = published({method.name for method in methods})
    pages = {"methods.md": _index(methods, measured, found, command)}
    if found is not None:
        pages["methods/runs.md"] = found.page(methods, controls)
    for method in methods:
        paper = prints.get(method.name)
        pages[f"methods/{method.name}.md"] = _page(method, measured, found, paper)
    return pages


def _index(methods: list[Known], costs: Costs | None, runs: Runs | None, command: str) -> str:
    """One line a method."""
    heads = [
        *(Head(title, words=True) for title in ("method", "what it does", "acts on")),
        *(Head(title) for title in ("passes/token", "cost/token")),
        *(Head(title) for title in ("better", "worse", "unclear", "no answer changed")),
    ]
    rows = []
    for method in methods:
        passes, cost, _ = costs.of(method) if costs else ("not measured", "-", "-")
        counts = runs.verdicts(method.name) if runs else {}
        marks = [str(counts[kind]) if counts else "-" for kind in VERDICTS]
        acts = method.supports()[0]
        ratio = cost.partition(" ")[0]
        cells = [link(method, "methods/"), method.cls.summary, acts, passes, ratio, *marks]
        rows.append(Row.of(cells))
    parts = [
        "# Methods",
        wrapped(GENERATED),
        f"```sh\n{command}\n```" if command else "",
        markdown_table(Table("", heads, rows)),
        wrapped(_LEGEND),
    ]
    if runs is not None:
        parts += [wrapped(runs.chance() + " [All of it](methods/runs.md).")]
    parts.append(_costs_text(costs))
    return joined(parts)


def _page(method: Known, costs: Costs | None, runs: Runs | None, paper: Table | None) -> str:
    """Everything about one method."""
    parts = [
        f"# {method.name}: {method.cls.summary}",
        "[All methods](../methods.md)",
        markdown_table(traits_table(method)),
        options_text(method),
    ]
    if method.description():
        parts += ["## In full", f"```text\n{method.description()}\n```"]
    parts.append("## What it costs")
    passes, cost, prompt = costs.of(method) if costs else ("not measured", "-", "-")
    if passes == "not measured":
        parts.append("Not measured.")
    else:
        heads = [Head(title) for title in ("passes/token", "cost/token", "prompt")]
        parts += [
            markdown_table(Table("", heads, [Row.of([passes, cost, prompt])])),
            "As ratios to stock `generate`; [how that was measured](../methods.md).",
        ]
    parts.append("## What it did to the shipped models")
    tables = runs.tables(method.name) if runs else []
    if tables:
        parts += [
            wrapped(
                "Paired differences to the row that decodes alike with nothing done against "
                f"hallucinations; [the runs](runs.md) say what was asked.{SIGNIFICANT}"
            ),
            *map(markdown_table, tables),
        ]
    else:
        parts.append("It was not run.")
    if paper is not None:
        parts += [
            "## What the paper prints",
            "Quoted from its tables: its models, data and code, and none of it was run here.",
            markdown_table(paper),
        ]
    return joined(parts)


_LEGEND = (
    "'cost/token' is a ratio to stock `generate`. The last columns count the comparisons with the "
    "row that decodes alike with nothing done against hallucinations, on three small models and "
    "several benchmarks, where a method acts alone: how many were significantly better or worse, "
    "unclear, or without any other answer. These models are tiny and say nothing about those of "
    "the papers. The page of each method has its formula, options, costs and figures."
)


def _costs_text(costs: Costs | None) -> str:
    if costs is None:
        return "Costs were not measured: `python benchmarks/methods.py` measures them."
    small = "**Numbers of a tiny model (`--small`): they say nothing.** " if costs.small else ""
    text = wrapped(
        f"{small}Costs are ratios to stock `generate`, with the middle half of their measurements "
        f"in brackets. {costs.text} Machine: {costs.machine}."
    )
    return f"## How costs were measured\n\n{text}\n\n```sh\n{costs.command}\n```"
