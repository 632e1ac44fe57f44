"""The formats that tables of texts are written in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lvlmsal.escaping import html_text, markdown_text, one_line
from lvlmsal.evaluation.report.grid import Grid, markdown_grid


def to_markdown(grids: Sequence[Grid], notes: Sequence[str]) -> str:
    """Tables in Markdown, with notes under them."""
    lines: list[str] = []
    for grid in grids:
        lines += [*markdown_grid(grid), ""]
    lines += [f"{markdown_text(note)}\n" for note in notes]
    return "\n".join(lines).rstrip("\n") + "\n"


def to_latex(grids: Sequence[Grid], notes: Sequence[str]) -> str:
    """Tables as LaTeX tabulars, which need no package; notes are comments."""
    lines: list[str] = []
    for grid in grids:
        shape = "l" * grid.names + "r" * (len(grid.heads) - grid.names)
        lines += [f"% {one_line(grid.title)}", f"\\begin{{tabular}}{{{shape}}}", "\\hline"]
        lines += [_latex_row(grid.heads), "\\hline", *(_latex_row(row) for row in grid.rows)]
        lines += ["\\hline", "\\end{tabular}", ""]
    lines += [f"% {one_line(note)}" for note in notes]
    return "\n".join(lines) + "\n"


def _latex_row(texts: Sequence[str]) -> str:
    # in braces: a cell that begins with [ would be taken for an option of the \\ before it
    return " & ".join(f"{{{latex_text(text)}}}" for text in texts) + r" \\"


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "Δ": r"$\Delta$",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "…": r"\ldots{}",
    "–": "--",  # noqa: RUF001  # an en dash, as LaTeX writes it
}


def latex_text(text: str) -> str:
    r"""Text that LaTeX sets as it stands, with any engine and without packages.

    A character that needs a font of its own is written as its code point.

    Example:
        >>> latex_text("50 % of a_b & c")
        '50 \\% of a\\_b \\& c'
        >>> latex_text("Δ ≠")
        '$\\Delta$ [U+2260]'
        >>> latex_text("a-1 [-0.5, +0.2] --")
        'a-1 [$-$0.5, +0.2] -{}-'
    """
    found = "".join(_latex_character(c) for c in re.sub(r"\s+", " ", text))
    found = re.sub(r"(?<![\w.)}-])-(?=\d)", "$-$", found)  # the minus of a number
    return re.sub(r"-(?=-)", "-{}", found)  # two hyphens are no dash


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    # letters of Western languages are in LaTeX's own fonts, but for eth and thorn
    if " " <= character <= "~" or ("À" <= character <= "ÿ" and character not in "ÐðÞþ"):
        return character
    return f"[U+{ord(character):04X}]"


def to_html(grids: Sequence[Grid], notes: Sequence[str]) -> str:
    """Tables as a whole HTML page that loads nothing."""
    parts = [
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<title>lvlmsal compare</title><style>body { font: 15px/1.5 system-ui, sans-serif; "
        "margin: 2rem } table { border-collapse: collapse; margin: 1rem 0 } th, td { border-bottom:"
        " 1px solid #ccc; padding: .25rem .6rem; text-align: right } .name { text-align: left } "
        "td { white-space: nowrap }</style></head>\n<body>"
    ]
    for grid in grids:
        parts.append(f"<h2>{html_text(grid.title)}</h2>\n<table>")
        parts.append(_html_row(grid.heads, grid.names, "th"))
        parts += [_html_row(row, grid.names, "td") for row in grid.rows]
        parts.append("</table>")
    parts += [f"<p>{html_text(note)}</p>" for note in notes]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _html_row(texts: Sequence[str], names: int, tag: str) -> str:
    cells = [
        f"<{tag}{' class=name' if index < names else ''}>{html_text(text)}</{tag}>"
        for index, text in enumerate(texts)
    ]
    return "<tr>" + "".join(cells) + "</tr>"
