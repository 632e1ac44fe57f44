"""The tables of a run: its figures, and what its answers took."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType

from lvlmsal.escaping import markdown_text
from lvlmsal.evaluation.report.entries import (
    against_cell,
    against_cells,
    against_heads,
    columns_of,
    count_cell,
    figure_cells,
    figure_heads,
    name_of,
    number_cell,
    samples_cell,
    shown_cells,
)
from lvlmsal.evaluation.report.legend import legend
from lvlmsal.evaluation.results.schema import Entry, Results
from lvlmsal.evaluation.results.unfinished import unfinished_text
from lvlmsal.tables.markdown import markdown_table
from lvlmsal.tables.table import Head, Row, Table
from lvlmsal.tables.terminal import shown, terminal_document


def run_tables(results: Results) -> list[Table]:
    """A table of figures for each model and metric.

    Args:
        results: The content of ``results.json``.
    """
    return [_table(*block) for block in _blocks(results)]


def _blocks(results: Results) -> Iterator[tuple[str, str, list[Entry]]]:
    """Model, metric and the entries of both, grouped by benchmark."""
    blocks: dict[tuple[str, str], list[Entry]] = {}
    for entry in shown_cells(results):
        blocks.setdefault((entry["model"], entry["metric"]), []).append(entry)
    for (model, metric), entries in blocks.items():
        order = list(dict.fromkeys(entry["benchmark"] for entry in entries))
        yield model, metric, sorted(entries, key=lambda entry: order.index(entry["benchmark"]))


def _table(model: str, metric: str, entries: list[Entry]) -> Table:
    columns = columns_of(metric, entries)
    heads = [
        Head("benchmark", words=True, terminal=False),
        Head("method", words=True),
        *figure_heads(columns, entries, first=2),
        *against_heads(method=1),
        Head("n", terminal=False),
        Head("tokens/s"),
    ]
    counts = {entry["benchmark"]: entry["n"] for entry in reversed(entries)}
    rows = [
        Row.of(
            [
                *(entry["benchmark"], name_of(entry)),
                *figure_cells(entry, columns),
                *against_cells(entry),
                samples_cell(entry),
                number_cell(entry["tokens_per_second"], ".0f"),
            ],
            f"{entry['benchmark']} ({counts[entry['benchmark']]})" if len(counts) > 1 else "",
        )
        for entry in entries
    ]
    return Table(f"{model}: {metric}", heads, rows)


def cost_table(results: Results) -> Table | None:
    """What answers took, and how much of them is not the control's; None without answers.

    Args:
        results: The content of ``results.json``.
    """
    words = [Head(title, words=True) for title in ("model", "method", "benchmark", "against")]
    numbers = ("changed answers", "changed tokens", "tokens", "ms/token", "passes/token", "peak MB")
    rows = []
    for entry in shown_cells(results):
        cost, peak = entry["cost"], entry["cost"]["peak_memory"]
        rows.append(
            Row.of(
                [
                    *(entry["model"], name_of(entry), entry["benchmark"], against_cell(entry)),
                    *(
                        count_cell(entry[key])
                        for key in ("changed", "tokens_changed", "new_tokens")
                    ),
                    number_cell(cost["ms_per_token"], ".3g"),
                    number_cell(cost["forwards_per_token"], ".3g"),
                    number_cell(None if peak is None else peak / 1e6, ".0f"),
                ]
            )
        )
    notes = [
        "Changed tokens: positions at which an answer's tokens are not those of the other method "
        "or that only one of the two has. Passes are those of the whole batch."
    ]
    heads = [*words, *map(Head, numbers)]
    return Table("Costs and changes", heads, rows, notes) if rows else None


def markdown_tables(results: Results) -> str:
    """The tables of figures in Markdown, with the legend and the warnings under them.

    Args:
        results: The content of ``results.json``.
    """
    parts = [markdown_text(text) for text in unfinished_notes(results)]
    parts += map(markdown_table, run_tables(results))
    parts.append(markdown_text(legend(results)))
    parts += [f"Note: {markdown_text(warning)}" for warning in results["warnings"]]
    return "\n\n".join(parts) + "\n"


def terminal_tables(results: Results, *, width: int = 140) -> RenderableType:
    """The tables of figures for a terminal, with the legend and the warnings under them.

    Args:
        results: The content of ``results.json``.
        width: Of the terminal, in characters.
    """
    missing = [shown(f"{text}\n", style="bold red") for text in unfinished_notes(results)]
    tables = terminal_document(run_tables(results), [legend(results)], width, results["warnings"])
    return Group(*missing, tables)


def unfinished_notes(results: Results) -> list[str]:
    """That answers are missing, in one sentence; nothing where none is."""
    found = results.get("unfinished")  # results of earlier versions have none
    return [unfinished_text(found)] if found else []
