"""A table as data, which the writers of this package turn into text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One value of a table.

    Attributes:
        text: The value.
        interval: Its confidence interval, in brackets; empty without one.
        strong: Whether it is set in bold.
    """

    text: str
    interval: str = ""
    strong: bool = False

    @property
    def parts(self) -> list[str]:
        """The value, and its interval where it has one."""
        return [self.text, self.interval] if self.interval else [self.text]


NONE = Cell("-")
"""Where there is nothing to say; a terminal leaves it out below another value."""


@dataclass(frozen=True)
class Head:
    """What a column is called and how it is laid out.

    Attributes:
        title: What stands above it.
        unit: Direction and unit, which stand after the title.
        words: Whether it holds words, which are set to the left, instead of numbers.
        below: Place of the column below whose values a terminal shows those of this one; None
            for a column of its own.
        prefix: What a terminal puts before such a value.
        terminal: Whether a terminal shows the column.
    """

    title: str
    unit: str = ""
    words: bool = False
    below: int | None = None
    prefix: str = ""
    terminal: bool = True

    @property
    def parts(self) -> list[str]:
        """The title, and the unit where there is one."""
        return [self.title, self.unit] if self.unit else [self.title]


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        cells: One for each column.
        section: A terminal shows the rows of one section under it; empty without one.
    """

    cells: Sequence[Cell]
    section: str = ""

    @classmethod
    def of(cls, values: Iterable[str | Cell], section: str = "") -> Row:
        """A row of which some values are plain texts."""
        return cls([v if isinstance(v, Cell) else Cell(v) for v in values], section)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What stands above it; empty without one.
        heads: Its columns.
        rows: Its lines.
        notes: Sentences that stand under it.

    Raises:
        ValueError: A row has more or fewer cells than there are columns.
    """

    title: str
    heads: Sequence[Head]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.heads):
                raise ValueError(
                    f"expected {len(self.heads)} cells in each row of {self.title!r}, "
                    f"got {len(row.cells)}"
                )
