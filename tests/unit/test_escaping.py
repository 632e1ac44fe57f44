"""Names of any kind are shown as text, in every format, against readers that are not ours."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console, Group

from lvlmsal.escaping import Markdown, csv_cell, markdown_text, one_line, visible
from lvlmsal.evaluation.report.run_tables import terminal_tables
from lvlmsal.pages import render
from lvlmsal.saliency.plot import as_text, new_figure
from lvlmsal.tables.markdown import markdown_table
from lvlmsal.tables.table import Head, Row, Table
from lvlmsal.tables.terminal import terminal_table

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


def table(text: str) -> Table:
    heads = [Head("name", words=True), Head("n")]
    return Table(text, heads, [Row.of([text, "end"])])


@examples
@given(TEXTS)
def test_html_is_read_as_the_text(text: str) -> None:
    page = render("comparisons/page.html", tables=[table(text)], notes=[text])
    parser = Cells()
    parser.feed(page[page.index("<body>") :])
    parser.close()
    said = visible(text, keep="\n\t")
    assert parser.texts[0] == said
    assert parser.texts[1].partition("\n")[0] == "end"
    assert parser.texts[1].count(said) or not said
    assert parser.tags == [
        *("body", "h2", "div", "table"),
        *["tr", "th", "th", "tr", "td", "td", "p"],
    ]


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
    page = markdown_table(replace(table(text), title=""))
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
    console = Console(width=400, color_system=None, file=io.StringIO(), emoji=True)
    with console.capture() as capture:
        console.print(Group(*terminal_table(table(text), 400)))
    said = capture.get()
    assert "\x1b" not in said
    assert said.count(visible(text).strip()) >= 2 or not visible(text).strip()


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
