"""Tables of texts, as Markdown and as HTML; whatever stands in them is inert there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lvlmsal.escaping import html_text, markdown_text


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: What stands above it.
        heads: Headings.
        rows: Texts, as many a row as there are headings.
        names: How many of the first columns are names; the others are numbers.
        words: Places of further columns that are names.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int
    words: Sequence[int] = ()

    @property
    def ruler(self) -> list[str]:
        """The second line of the table in Markdown."""
        places = {*range(self.names), *self.words}
        return ["---" if place in places else "---:" for place in range(len(self.heads))]


def markdown_row(texts: Iterable[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(markdown_text(text) for text in texts) + " |"


def markdown_grid(grid: Grid) -> list[str]:
    """Lines of a table in Markdown, with its title as a heading."""
    return [
        f"### {markdown_text(grid.title)}",
        "",
        markdown_row(grid.heads),
        markdown_row(grid.ruler),
        *(markdown_row(row) for row in grid.rows),
    ]


def html_grid(grid: Grid) -> str:
    """A table as HTML, with its title as a heading and intervals under their values."""
    rows = [_html_row(grid.heads, "th"), *(_html_row(row, "td") for row in grid.rows)]
    table = "<div class='wide'><table>" + "\n".join(rows) + "</table></div>"
    return f"<h2>{html_text(grid.title)}</h2>\n{table}"


def _html_row(texts: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{_html_cell(text)}</{tag}>" for text in texts) + "</tr>"


def _html_cell(text: str) -> str:
    # only numbers in the brackets: a name may end in brackets too
    return re.sub(r" (\[[-+\d.]+, [-+\d.]+\]( \(\d+ of \d+ read\))?)$", r"<br>\1", html_text(text))
