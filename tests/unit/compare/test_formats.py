"""The formats of tables: nothing in a name may break out of a cell."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.compare.formats import latex_text, to_html, to_latex, to_markdown
from lvlmsal.escaping import visible
from lvlmsal.evaluation.report.grid import Grid

EVIL = "a&b_{c}%$#~^\\ <script>|\n[x] \"q\" 'é' Δ ± 漢 --"


def grid(*rows: list[str]) -> Grid:
    return Grid("t % \\end{document}\nx", ["name", "Δ F1 %"], rows, names=1)


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
    text = to_latex([grid([EVIL, "[1.0, 2.0]"])], ["note\n\\bad"])
    lines = text.splitlines()
    assert lines[0] == "% t % \\end{document} x"
    assert lines[1:3] == [r"\begin{tabular}{lr}", r"\hline"]
    assert lines[3] == r"{name} & {$\Delta$ F1 \%} \\"
    # in braces, so that the bracket is no option of the line end before it
    assert lines[5].endswith(r"& {[1.0, 2.0]} \\")
    assert lines[-1] == "% note \\bad"


@given(st.lists(st.text(max_size=30), min_size=2, max_size=2))
def test_html_and_markdown_hold_no_markup_of_names(names: list[str]) -> None:
    page = to_html([grid(names)], [names[0]])
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page, flags=re.DOTALL)
    assert [html.unescape(cell) for cell in cells] == [visible(n, keep="\n\t") for n in names]
    assert not any("<" in cell for cell in cells)
    table = to_markdown([grid([names[0].replace("\r", "").replace("\\", ""), "x"])], [])
    row = table.split("\n")[4]
    assert row.endswith("| x |")
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


@pytest.mark.parametrize("write", [to_html, to_latex, to_markdown])
def test_no_table_is_no_error(write: object) -> None:
    assert callable(write)
    assert write([], ["only a note"])
