"""The formats of tables: nothing in a name may break out of a cell."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from lvlmsal.escaping import visible
from lvlmsal.pages import render
from lvlmsal.tables.latex import latex_document, latex_table, latex_text
from lvlmsal.tables.markdown import markdown_document, markdown_table
from lvlmsal.tables.table import NONE, Cell, Head, Row, Table
from lvlmsal.tables.terminal import terminal_table
from tests.printed import assert_holds

EVIL = "a&b_{c}%$#~^\\ <script>|\n[x] \"q\" 'é' Δ ± 漢 --"


def table(*rows: list[str]) -> Table:
    heads = [Head("name", words=True), Head("Δ F1", "%")]
    return Table("t % \\end{document}\nx", heads, [Row.of(row) for row in rows])


def html_document(tables: list[Table], notes: list[str]) -> str:
    return render("comparisons/page.html", tables=tables, notes=notes)


def test_latex_escapes_what_it_reads_as_commands() -> None:
    assert latex_text(EVIL) == (
        r"a\&b\_\{c\}\%\$\#\textasciitilde{}\textasciicircum{}\textbackslash{} "
        r"\textless{}script\textgreater{}\textbar{} [x] \char34{}q\char34{} "
        r"\textquotesingle{}é\textquotesingle{} $\Delta$ $\pm$ [U+6F22] -{}-"
    )


@given(st.text(max_size=40))
def test_latex_holds_no_open_command_whatever_the_text(text: str) -> None:
    found = latex_text(text)
    assert "\n" not in found
    assert all(c <= "~" or "À" <= c <= "ÿ" for c in found)
    # take away what we write on purpose: nothing that LaTeX reads as a command may be left
    rest = re.sub(r"\\[a-zA-Z]+(?:34)?\{\}|\\[&%$#_{}]|\$(?:\\[A-Za-z]+|-)\$|-\{\}", "", found)
    assert not set("&%$#_{}~^\\") & set(rest)


def test_a_latex_table_is_whole() -> None:
    text = latex_document([table([EVIL, "[1.0, 2.0]"])], ["note\n\\bad"])
    lines = text.splitlines()
    assert lines[0] == "% t % \\end{document} x"
    assert lines[1:3] == [r"\begin{tabular}{lr}", r"\hline"]
    assert lines[3] == r"{name} & {$\Delta$ F1 \%} \\"
    # in braces, so that the bracket is not an option of the line end before it
    assert lines[5].endswith(r"& {[1.0, 2.0]} \\")
    assert lines[-1] == "% note \\bad"


@given(st.lists(st.text(max_size=30), min_size=2, max_size=2))
def test_html_and_markdown_hold_no_markup_of_names(names: list[str]) -> None:
    page = html_document([table(names)], [names[0]])
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page, flags=re.DOTALL)
    assert [html.unescape(cell) for cell in cells] == [visible(n, keep="\n\t") for n in names]
    assert not any("<" in cell for cell in cells)
    text = markdown_table(table([names[0].replace("\r", "").replace("\\", ""), "x"]))
    row = text.split("\n")[4]
    assert row.endswith("| x |")
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


@pytest.mark.parametrize("write", [html_document, latex_document, markdown_document])
def test_no_table_is_no_error(write: Callable[..., str]) -> None:
    assert "only a note" in write([], ["only a note"])


def values() -> Table:
    """Two methods on two benchmarks; the second is compared with the first."""
    heads = [
        Head("benchmark", words=True, terminal=False),
        Head("method", words=True),
        Head("F1", "↑ %"),
        Head("Δ F1", below=2, prefix="Δ "),
        Head("against", below=1, prefix=" against "),
        Head("n", terminal=False),
        Head("ms"),
    ]
    rows = [
        Row.of(["pope", "a", Cell("81.2", "[78.0, 84.1]"), NONE, NONE, "9", "1"], "pope (9)"),
        Row.of(
            [
                *("pope", "b", Cell("85.2", "[80.0, 88.1]")),
                *(Cell("+4.0", "[+1.0, +7.0]", strong=True), "a", "9", "2"),
            ],
            "pope (9)",
        ),
        Row.of(["chair", "a", Cell("undefined"), NONE, NONE, "4", "-"], "chair (4)"),
    ]
    return Table("m: x", heads, rows, notes=["Quoted."])


def test_markdown_has_every_column_and_bold_where_it_is_strong() -> None:
    assert markdown_table(values()).split("\n") == [
        "### m: x",
        "",
        "| benchmark | method | F1 ↑ % | Δ F1 | against | n | ms |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| pope | a | 81.2 [78.0, 84.1] | - | - | 9 | 1 |",
        "| pope | b | 85.2 [80.0, 88.1] | **+4.0 [+1.0, +7.0]** | a | 9 | 2 |",
        "| chair | a | undefined | - | - | 4 | - |",
        "",
        "Quoted.",
    ]


def test_latex_and_html_have_the_same_cells() -> None:
    lines = latex_table(values()).splitlines()
    assert lines[1] == r"\begin{tabular}{llrrrrr}"
    assert lines[6] == (
        r"{pope} & {b} & {85.2 [80.0, 88.1]} & {\textbf{+4.0 [+1.0, +7.0]}} & {a} & {9} & {2} \\"
    )
    assert lines[-1] == "% Quoted."
    page = html_document([values()], [])
    row = re.findall(r"<tr>(.*?)</tr>", page)[2]
    cells = re.findall(r"<td(?: class=\"name\")?>(.*?)</td>", row)
    assert cells[2:5] == ["85.2<br>[80.0, 88.1]", "<b>+4.0<br>[+1.0, +7.0]</b>", "a"]
    assert len(re.findall(r'<td class="name">', row)) == 2
    assert "<p>Quoted.</p>" in page


def printed(table: Table, width: int) -> tuple[list[str], list[str]]:
    """The lines of a table in a terminal, and what is bold in it."""
    console = Console(width=width, color_system=None, record=True, file=io.StringIO())
    parts = terminal_table(table, width)
    console.print(Group(*parts))
    rich = [part for part in parts if isinstance(part, RichTable)]
    bold = [
        cell.plain
        for one in rich
        for column in one.columns
        for cell in column.cells
        if isinstance(cell, Text)
        if any(span.style == "bold" for span in cell.spans) or cell.style == "bold"
    ]
    return [line.rstrip() for line in console.export_text().splitlines()], bold


def test_a_terminal_shows_sections_and_differences_below_their_values() -> None:
    lines, bold = printed(values(), 100)
    words = [re.sub(r"[│┃]", " ", line).split() for line in lines if re.search("[│┃]", line)]
    assert words == [
        ["method", "F1", "↑", "%", "ms"],
        ["pope", "(9)"],
        ["a", "81.2", "[78.0,", "84.1]", "1"],
        ["b", "85.2", "[80.0,", "88.1]", "2"],
        ["against", "a", "Δ", "+4.0", "[+1.0,", "+7.0]"],
        ["chair", "(4)"],
        ["a", "undefined", "-"],
    ]
    assert "Quoted." in lines
    assert bold == ["Δ +4.0 [+1.0, +7.0]"]


@pytest.mark.parametrize("width", [30, 40, 60, 120])
def test_a_narrow_terminal_gets_parts_in_which_no_word_is_broken(width: int) -> None:
    heads = [Head("method", words=True), *(Head(f"figure{i}", "↑ %") for i in range(5))]
    cells = [Cell(f"{i}1.2", f"[{i}0.0, {i}4.1]") for i in range(5)]
    table = Table("t", heads, [Row.of(["with a name", *cells])])
    lines, _ = printed(table, width)
    assert max(map(len, lines)) <= width
    assert (
        sum("t (continued)" in line for line in lines)
        == sum("method" in line for line in lines) - 1
    )
    for i in range(5):
        assert sum(f"figure{i}" in line for line in lines) == 1
        assert sum(f"[{i}0.0," in line for line in lines) == 1
        assert sum(f"{i}4.1]" in line for line in lines) == 1


@given(
    st.lists(st.lists(st.floats(-999, 999), min_size=6, max_size=6), min_size=1, max_size=3),
    st.lists(st.text("ab ", min_size=1, max_size=20), min_size=3, max_size=3),
    st.integers(80, 160),
)
def test_numbers_and_intervals_are_whole_at_any_width(
    numbers: list[list[float]], names: list[str], width: int
) -> None:
    heads = [Head("run", words=True), Head("method", words=True)]
    heads += [Head(f"figure {i}", "↑ %") for i in range(6)]
    heads += [Head("against", below=1, prefix=" against "), Head("Δ", below=2, prefix="Δ ")]
    texts = [f"{value:+.1f}" for row in numbers for value in row]
    rows = [
        Row.of(
            [
                *names[:2],
                *(Cell(f"{value:+.1f}", f"[{value - 1:.1f}, {value + 1:.1f}]") for value in row),
                *(names[2], Cell("+0.5", "[+0.1, +100.7]")),
            ]
        )
        for row in numbers
    ]
    lines, _ = printed(Table("t", heads, rows), width)
    assert_holds("\n".join(lines), width)
    found = re.findall(r"(?<![-+.\d\[,])(?<!, )[-+]\d+\.\d(?![\d\],])", "\n".join(lines))
    assert sorted(found) == sorted([*texts, *["+0.5"] * len(numbers)])


def test_judged_replies_stand_with_their_interval() -> None:
    heads = [Head("method", words=True), *(Head(f"figure {i}") for i in range(3))]
    cell = Cell("50.0", "[40.0, 60.0] (3 of 4 read)")
    lines, _ = printed(Table("t", heads, [Row.of(["vcd", cell, cell, cell])]), 80)
    assert sum(line.count("[40.0, 60.0] (3 of 4 read)") for line in lines) == 3


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValueError, match="expected 2 cells in each row of 't', got 1"):
        Table("t", [Head("a"), Head("b")], [Row.of(["x"])])
