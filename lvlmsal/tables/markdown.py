"""Tables in Markdown; whatever stands in them is inert there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lvlmsal.escaping import markdown_text
from lvlmsal.tables.table import Cell, Table


def markdown_table(table: Table) -> str:
    """A table with its title as a heading and its notes under it."""
    lines = [f"### {markdown_text(table.title)}", ""] if table.title else []
    lines.append(_row(_joined(head.parts) for head in table.heads))
    lines.append(_row("---" if head.words else "---:" for head in table.heads))
    lines += [_row(map(_cell, row.cells)) for row in table.rows]
    lines += [f"\n{markdown_text(note)}" for note in table.notes]
    return "\n".join(lines)


def markdown_document(tables: Iterable[Table], notes: Sequence[str]) -> str:
    """Tables with notes under them; each is a paragraph."""
    return "\n\n".join([*map(markdown_table, tables), *map(markdown_text, notes)]) + "\n"


def _cell(cell: Cell) -> str:
    text = _joined(cell.parts)
    return f"**{text}**" if cell.strong else text


def _joined(parts: Iterable[str]) -> str:
    return " ".join(map(markdown_text, parts))


def _row(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"
