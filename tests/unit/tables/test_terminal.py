"""Tables in a terminal: nothing that is read as one is broken, and nothing is wider than it."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lvlmsal.tables.table import Cell, Head, Row, Table
from lvlmsal.tables.terminal import terminal_table

INTERVAL = re.compile(r"\[[-+]?\d+\.\d, [-+]?\d+\.\d\]")


def drawn(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False)
    console.print(*terminal_table(table, width), sep="\n")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def results(columns: int, method: str = "greedy") -> Table:
    """A value with its interval for each of so many figures."""
    heads = [Head("method", words=True), *(Head("accuracy", "↑ %") for _ in range(columns))]
    cells = [Cell("85.7", "[-67.5, +197.7]") for _ in range(columns)]
    return Table("pocket-llava: pope", heads, [Row.of([method, *cells])])


@given(width=st.integers(60, 140), columns=st.integers(1, 9))
def test_intervals_stay_whole_and_lines_fit(width: int, columns: int) -> None:
    shown = drawn(results(columns), width)
    assert len(INTERVAL.findall(shown)) == columns
    assert max(map(len, shown.splitlines())) <= width


def test_names_give_way_before_numbers_do() -> None:
    shown = drawn(results(3, method="SGRS with LocoRE and the candidate row"), 80)
    assert len(INTERVAL.findall(shown)) == 3
    assert "candidate" in shown


@pytest.mark.parametrize("width", [80, 120])
def test_what_fits_stays_one_table(width: int) -> None:
    assert "(continued)" not in drawn(results(3), width)
