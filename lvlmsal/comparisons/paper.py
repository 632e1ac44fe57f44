"""Comparisons as LaTeX tables that go into a paper as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lvlmsal.comparisons.layout import Block
from lvlmsal.comparisons.reading import Row
from lvlmsal.escaping import one_line
from lvlmsal.evaluation.report.entries import (
    difference_cell,
    heading_of,
    name_of,
    read_text,
    value_texts,
)
from lvlmsal.metrics.columns import Column
from lvlmsal.tables.latex import latex_float, latex_text
from lvlmsal.tables.table import NONE, Cell

NO_VALUE = "--"
HEADER = r"""% Needs \usepackage{booktabs}. Over both columns of a page: table* in place of table.
% Captions and labels are a proposal.
"""
STARS = " Asterisk: the 95 % interval of the difference, which resamples images, excludes 0."


def paper_document(blocks: Sequence[Block], notes: Iterable[str]) -> str:
    """A table for each metric, then one for the pairs of each block that has some.

    Args:
        blocks: What is compared.
        notes: Sentences that become comments at the end.
    """
    by_metric: dict[str, list[Block]] = {}
    for block in blocks:
        by_metric.setdefault(block.rows[0].entry["metric"], []).append(block)
    labels: set[str] = set()
    tables = [_figures(metric, found, labels) for metric, found in by_metric.items()]
    tables += [_pairs(block, labels) for block in blocks if block.pairs]
    comments = "".join(f"% {one_line(note)}\n" for note in notes)
    return "\n".join([HEADER, *tables, comments])


def _figures(metric: str, blocks: Sequence[Block], labels: set[str]) -> str:
    """The figures of a metric, the rows of each benchmark and model together."""
    rows = [row for block in blocks for row in block.rows]
    columns = list({c.figure: c for block in blocks for c in block.columns}.values())
    names = [
        kind
        for kind in ("benchmark", "model", "run")
        if len({getattr(row, kind) for row in rows}) > 1
    ]
    groups = _groups(rows)
    cells = {column.figure: _column(column, groups) for column in columns}
    lines: list[list[list[str]]] = []
    for group in groups:
        last = [""] * len(names)
        lines.append([])
        for row in group:
            named = [getattr(row, kind) for kind in names]
            shown = [
                "" if name == above else latex_text(name)
                for name, above in zip(named, last, strict=True)
            ]
            values = [cells[column.figure][row.title, row.benchmark] for column in columns]
            lines[-1].append([*shown, latex_text(name_of(row.entry)), *values])
            last = named
    heads = [
        *(kind.capitalize() for kind in (*names, "method")),
        *(_head(c, rows) for c in columns),
    ]
    text = "".join(value for column in cells.values() for value in column.values())
    return latex_float(
        "l" * (len(names) + 1) + "r" * len(columns),
        heads,
        lines,
        latex_text(_caption(rows, columns, text)),
        _label(metric, labels),
    )


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one benchmark and model, or of one benchmark where each row has its own model."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault((row.benchmark, row.model), []).append(row)
    if all(len(group) == 1 for group in found.values()):
        found = {}
        for row in rows:
            found.setdefault((row.benchmark,), []).append(row)
    return list(found.values())


def _column(column: Column, groups: Sequence[Sequence[Row]]) -> dict[tuple[str, str], str]:
    """A figure of every row: the best of each group in bold, its difference as a subscript."""
    rows = [row for group in groups for row in group]
    differences = {}
    for row in rows:
        figure = row.entry["figures"].get(column.figure)
        bounds = figure["difference"] if figure and not column.bare else None
        differences[id(row)] = difference_cell(bounds, column)
    widest = max((cell.text for cell in differences.values() if cell != NONE), key=len, default="")
    found = {}
    for group in groups:
        texts = {id(row): _texts(row, column) for row in group}
        best = _best(column, group, [value for value, _ in texts.values()])
        for row in group:
            value, spread = texts[id(row)]
            text = latex_text(value) if value else NO_VALUE
            text = rf"\textbf{{{text}}}" if value == best else text
            text += rf"\,$\pm$\,{spread}" if spread else ""
            found[row.title, row.benchmark] = text + _subscript(differences[id(row)], widest)
    return found


def _texts(row: Row, column: Column) -> tuple[str, str]:
    """Value and spread of a figure as they are printed; both empty where it is undefined."""
    figure = row.entry["figures"].get(column.figure)
    return ("", "") if figure is None or figure["value"] is None else value_texts(figure, column)


def _best(column: Column, group: Sequence[Row], texts: Sequence[str]) -> str | None:
    """The best value as it is printed; None where none is better than another."""
    found = [
        row.entry["figures"][column.figure] for row, text in zip(group, texts, strict=True) if text
    ]
    printed = [text for text in texts if text]
    if not found or found[0]["higher_is_better"] is None or len(set(printed)) < 2:
        return None
    choose = max if found[0]["higher_is_better"] else min
    return choose(zip((f["value"] or 0.0 for f in found), printed, strict=True))[1]


def _subscript(difference: Cell, widest: str) -> str:
    """A difference as wide as the widest of its column, so that the values stand level."""
    if not widest:
        return ""
    if difference == NONE:
        return rf"$_{{\phantom{{{widest}}}}}$"
    missing = "0" * (len(widest) - len(difference.text))
    filled = rf"\phantom{{{missing}}}" if missing else ""
    return f"$_{{{difference.text}{filled}}}{'^{*}' * difference.strong}$"


def _head(column: Column, rows: Sequence[Row]) -> str:
    """A column's title with its direction, as papers write it: CHAIR_I has an index."""
    entry = next(row.entry for row in rows if column.figure in row.entry["figures"])
    title = column.title
    if title.partition(" ")[0].islower():
        title = title[0].upper() + title[1:]
    title = re.sub(r"\\_(\w)$", r"$_{\\mathrm{\1}}$", latex_text(title))
    arrow = heading_of(column, [entry]).unit.removesuffix("%").strip()
    return f"{title} {latex_text(arrow)}".strip()


def _caption(rows: Sequence[Row], columns: Sequence[Column], text: str) -> str:
    """What a reader has to know of a table whose values are this text."""
    sizes: dict[str, list[int]] = {}
    for row in rows:
        sizes.setdefault(row.benchmark, []).append(len(row.asked))
    counts = {name: _range(found) for name, found in sizes.items()}
    if len(counts) > 1 and len(set(counts.values())) == 1:
        found = f"{', '.join(counts)} ({next(iter(counts.values()))} samples each)"
    else:
        found = ", ".join(f"{name} ({count} samples)" for name, count in counts.items())
    found += f", with {rows[0].model}." if len({row.model for row in rows}) == 1 else "."
    percent = [column.title for column in columns if column.percent]
    if percent:
        found += f" In %: {', '.join(percent)}." if len(percent) < len(columns) else " Values in %."
    if r"\textbf" in text:
        found += " Bold: the best of each group."
    if "$_" in text:
        found += f" Subscripts: paired difference, sample by sample, {_controls(rows)}."
    if "^{*}" in text:
        found += STARS
    if r"\pm" in text:
        found += " ±: standard deviation over seeds, around their mean."
    for row in rows:
        who = f"{row.title} on {row.benchmark}"
        if row.entry["failed"]:
            found += f" {row.entry['failed']} of {row.entry['n']} answers failed ({who})."
        if read := read_text(row.entry):
            found += f" Replies of the judge: {read} ({who})."
    unfinished = {row.run for row in rows if row.source.unfinished is not None}
    return found + "".join(f" The run {run} is unfinished." for run in sorted(unfinished))


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _controls(rows: Sequence[Row]) -> str:
    """What the methods are compared with."""
    methods: dict[str, dict[str, None]] = {}
    for row in rows:
        if other := row.entry["compared_with"]:
            methods.setdefault(other, {})[row.method] = None
    if len(methods) == 1:
        text = f"to {next(iter(methods))}"
    else:
        each = [f"{other} for {', '.join(found)}" for other, found in methods.items()]
        text = f"to the control: {'; '.join(each)}"
    unlike = dict.fromkeys(row.method for row in rows if row.entry["decoder_differs"])
    return text + (f"; with another decoder: {', '.join(unlike)}" if unlike else "")


def _pairs(block: Block, labels: set[str]) -> str:
    """The differences between rows of different runs or models."""
    columns = [column for column in block.columns if not column.bare]
    lines = []
    for pair in block.pairs:
        cells = [difference_cell(pair.found["differences"].get(c.figure), c) for c in columns]
        values = [
            NO_VALUE if cell == NONE else f"${cell.text}{'^{*}' * cell.strong}$" for cell in cells
        ]
        names = map(latex_text, block.pair_titles(pair))
        lines.append([*names, *values, str(pair.found["changed"]), str(pair.found["pairs"])])
    heads = [rf"$\Delta$ {_head(column, block.rows)}" for column in columns]
    percent = [column.title for column in columns if column.percent]
    caption = f"{block.benchmark}: paired differences, sample by sample."
    caption += f" In %: {', '.join(percent)}." if percent else ""
    caption += STARS if any("^{*}" in cell for line in lines for cell in line) else ""
    return latex_float(
        "ll" + "r" * (len(columns) + 2),
        ["Row", "Against", *heads, "Changed", "Pairs"],
        [lines],
        latex_text(caption),
        _label(f"{block.benchmark} pairs", labels),
    )


def _label(name: str, taken: set[str]) -> str:
    """A label that no other table has."""
    first = "tab:" + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "results")
    label, number = first, 1
    while label in taken:
        number += 1
        label = f"{first}-{number}"
    taken.add(label)
    return label
