"""Names of any kind are shown as text, in every format, against readers that are not ours."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from rich.table import Table

from lvlmsal.escaping import Markdown, csv_cell, html_text, markdown_text, one_line, visible
from lvlmsal.evaluation.report.grid import Grid, html_grid, markdown_row
from lvlmsal.evaluation.report.terminal import shown, terminal_tables
from lvlmsal.saliency.plot import as_text, new_figure

EVIL = [
    "[/x]",
    "[red]x[/red]",
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "<script>alert(1)</script>",
    "</td></tr>",
    "=1+1",
    "\t=1",
    " @SUM(1)",
    "-2+3",
    "a|b\\|c\\",
    "`code` **bold** __b__ ~~s~~ _i_ [a](b) ![a](b) [a][b] &lt; <b>",
    "$x$ %y & #z ^ ~",
    "a\nb\r\nc",
    "\u202eevil\u2066",
    "half \ud83d",
    ":smile:",
]
TEXTS = st.text(alphabet=st.characters(exclude_categories=()), max_size=25) | st.text(
    alphabet="[]()`*_~|\\<>&;!=+-@#:/ab \t\x1b", max_size=25
)


def examples(test: Any) -> Any:
    for text in EVIL:
        test = example(text)(test)
    return test


class Cells(HTMLParser):
    """The texts of the cells of a page, and the tags that were met."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "td":
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data


@examples
@given(TEXTS)
def test_nothing_that_acts_unseen_is_left(text: str) -> None:
    found = visible(text)
    assert all(c.isprintable() or c.isspace() or ord(c) > 0x9F for c in found)
    assert not set("\x1b\x9b\x7f\n\r\t\u202e\u2066\u200f") & set(found)
    found.encode()  # no half of a character
    assert visible(found) == found


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), max_size=25))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert visible(text) == text


@examples
@given(TEXTS)
def test_html_is_read_as_the_text(text: str) -> None:
    parser = Cells()
    parser.feed(html_grid(Grid("t", ["name", "n"], [[text, "1"]], names=1)) + "<p></p>")
    parser.close()
    assert parser.texts == [visible(text, keep="\n\t"), "1"]
    assert parser.tags == ["h2", "div", "table", "tr", "th", "th", "tr", "td", "td", "p"]
    assert not set("<>\"'") & set(html_text(text))


@examples
@given(TEXTS)
def test_csv_is_read_as_the_text_and_holds_no_formula(text: str) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow([csv_cell(text), "end"])
    ((cell, end),) = csv.reader(io.StringIO(file.getvalue()))
    assert end == "end"
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", cell):
        assert cell.lstrip(" ")[:1] not in (*"=+-@\t\n\r",)
    assert cell.removeprefix("'") == visible(text, keep="\n\t").removeprefix("'")


@pytest.mark.parametrize("value", [-1.5, 3, None, True, "-1.5", "+1e-5", "-.5", "a", ""])
def test_numbers_stay_numbers_in_csv(value: object) -> None:
    assert csv_cell(value) is value or csv_cell(value) == value


@examples
@given(TEXTS)
def test_markdown_is_read_as_the_text(text: str) -> None:
    page = "\n".join(map(markdown_row, (["name", "n"], ["---", "---:"], [text, "end"])))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page)
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 4
    children = cells[2].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == one_line(text).strip()
    assert cells[3].content == "end"


def test_markdown_on_purpose_stays() -> None:
    assert markdown_text(Markdown("**`a`**")) == "**`a`**"


@examples
@given(TEXTS)
def test_a_terminal_shows_the_text(text: str) -> None:
    table = Table(title=shown(text), title_justify="left")
    table.add_column(shown(text), overflow="fold")
    table.add_row(shown(text))
    console = Console(width=400, color_system=None, file=io.StringIO(), emoji=True)
    with console.capture() as capture:
        console.print(table)
    said = capture.get()
    assert "\x1b" not in said
    assert visible(text).strip() in said


@pytest.mark.parametrize("name", ["$x^{$", "$\\frac$", "a$b"])
def test_a_dollar_sign_of_a_name_starts_no_mathematics(name: str) -> None:
    figure = new_figure(2, 2)
    axes = figure.subplots()
    axes.set_title(name)
    axes.plot([0, 1], label=name)
    axes.legend()
    as_text(figure).savefig(io.BytesIO())


def cell(name: str) -> dict[str, Any]:
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "higher_is_better": True, "difference": None}
    return {
        **dict.fromkeys(("model", "method", "benchmark", "metric", "compared_with"), name),
        "n": 1,
        "failed": 0,
        "seed": 0,
        "metric_options": {"parser": name},
        "variant": name,
        "changed": None,
        "mcnemar": None,
        "decoder_differs": True,
        "tokens_per_second": 1.0,
        "figures": {name: figure},
    }


@pytest.mark.parametrize("name", EVIL)
def test_the_tables_of_a_run_are_printed_whatever_the_names(name: str) -> None:
    results = {"cells": [cell(name)], "warnings": [name], "baseline": name}
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(terminal_tables(results, width=200))
    said = capture.get()
    assert "\x1b" not in said
    assert f"note: {visible(name)}".strip() in said
