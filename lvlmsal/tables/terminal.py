"""Tables for a terminal, as compact as it needs them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from lvlmsal.escaping import visible
from lvlmsal.tables.table import NONE, Cell, Row, Table

_MORE = " (continued)"


def shown(text: object, style: str = "") -> Text:
    """A text for a terminal: neither markup nor escape codes act."""
    return Text(visible(text), style=style)


def terminal_table(table: Table, width: int) -> list[RenderableType]:
    """A table, or several below one another where one would break words and numbers.

    Each is followed by an empty line, and the last by the table's notes.

    Args:
        table: What to show.
        width: Of the terminal, in characters.
    """
    places = [i for i, head in enumerate(table.heads) if head.terminal and head.below is None]
    parts = [_part(table, places, " ")]
    if _measured(parts[0]).maximum > width:
        # intervals go under their values; the first columns, which are names, stand in each part
        first = next((i for i in places if not table.heads[i].words), len(table.heads))
        names, others = [i for i in places if i < first], [i for i in places if i >= first]
        parts = []
        while others or not parts:
            more = _MORE if parts else ""
            for size in range(max(1, len(others)), 0, -1):
                part = _part(table, names + others[:size], "\n", more)
                if _fit(part, width):
                    break
            parts.append(part)
            others = others[size:]
    found: list[RenderableType] = [each for part in parts for each in (part, Text())]
    return found + [each for note in table.notes for each in (shown(note, style="dim"), Text())]


def terminal_document(
    tables: Iterable[Table], legend: Sequence[str], width: int, warnings: Iterable[str] = ()
) -> RenderableType:
    """Tables with what is said of them, and warnings, below.

    Args:
        tables: What to show.
        legend: Sentences about the tables.
        width: Of the terminal, in characters.
        warnings: What a reader must know of the numbers.
    """
    parts = [part for table in tables for part in terminal_table(table, width)]
    parts += [shown(text, style="dim") for text in legend]
    return Group(*parts, *(shown(f"note: {text}", style="yellow") for text in warnings))


def plain_text(content: RenderableType, width: int = 140) -> str:
    """What a terminal would show, without colors."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(content)
    return capture.get()


def _measured(content: RenderableType) -> Measurement:
    ruler = Console(width=10_000)
    return Measurement.get(ruler, ruler.options, content)


def _fit(part: RichTable, width: int) -> bool:
    """Give numbers the room that they want, then names; rich would break words to make room.

    Returns:
        Whether there is room for every number and interval, and for every word of the names.
    """
    sizes = []
    for column in part.columns:
        cells = [line for text in column.cells for line in str(text).split("\n")]
        heads = str(column.header).split("\n")
        # names and headings may be broken between their words, numbers and intervals nowhere
        words = heads if column.justify == "right" else [*heads, *cells]
        pieces = [piece for line in words for piece in re.findall(r"^\s*\S+|\S+", line)]
        whole = cells if column.justify == "right" else []
        least = max(map(cell_len, [*pieces, *whole]), default=1)
        sizes.append((least, max(map(cell_len, [*heads, *cells]))))
        column.width = least
    spare = width - _measured(part).maximum
    fits = spare >= 0
    for column, (least, most) in zip(reversed(part.columns), reversed(sizes), strict=True):
        column.width = min(most, least + spare) if spare >= 0 else None
        spare -= (column.width or least) - least
    return fits


def _part(table: Table, places: Sequence[int], gap: str, more: str = "") -> RichTable:
    """Some of the columns, with what stands below their values."""
    title = shown(table.title + more) if table.title else None
    rich = RichTable(title=title, title_justify="left", pad_edge=False)
    for place in places:
        head = table.heads[place]
        above = Text(gap.join(map(visible, head.parts)))
        rich.add_column(above, justify="left" if head.words else "right", overflow="fold")
    section = ""
    for row in table.rows:
        if row.section != section:
            section = row.section
            if rich.row_count:
                rich.add_section()
            rich.add_row(shown(section, style="bold italic"))
        rich.add_row(*(_text(row.cells[place], gap) for place in places))
        below = [_below(table, row, place, gap) for place in places]
        if any(below):  # a row of its own: both may wrap, and stay level
            rich.add_row(*below)
    return rich


def _below(table: Table, row: Row, place: int, gap: str) -> Text:
    """What stands below a value: a line for each column that says so."""
    lines = [
        _text(cell, gap, "dim", head.prefix)
        for head, cell in zip(table.heads, row.cells, strict=True)
        if head.below == place and cell != NONE
    ]
    return Text("\n").join(lines)


def _text(cell: Cell, gap: str, style: str = "", prefix: str = "") -> Text:
    parts = gap.join(map(visible, cell.parts))
    return Text(prefix + parts, style="bold" if cell.strong else style)
