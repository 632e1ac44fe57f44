"""Tables as LaTeX tabulars, which need no package, and as floats of a paper (booktabs)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lvlmsal.escaping import one_line
from lvlmsal.tables.table import Cell, Table


def latex_table(table: Table) -> str:
    """A table; its title and its notes are comments."""
    shape = "".join("l" if head.words else "r" for head in table.heads)
    lines = [f"% {one_line(table.title)}", f"\\begin{{tabular}}{{{shape}}}", "\\hline"]
    lines += [_row(latex_text(" ".join(head.parts)) for head in table.heads), "\\hline"]
    lines += [_row(map(_cell, row.cells)) for row in table.rows]
    lines += ["\\hline", "\\end{tabular}", *(f"% {one_line(note)}" for note in table.notes)]
    return "\n".join(lines)


def latex_document(tables: Iterable[Table], notes: Sequence[str]) -> str:
    """Tables, with notes under them as comments."""
    parts = [f"{latex_table(table)}\n" for table in tables]
    return "\n".join([*parts, *(f"% {one_line(note)}" for note in notes)]) + "\n"


def latex_float(
    shape: str,
    heads: Sequence[str],
    groups: Iterable[Iterable[Sequence[str]]],
    caption: str,
    label: str,
) -> str:
    """A table with a caption and rules of booktabs; its texts are LaTeX already.

    Args:
        shape: Of the columns, such as ``lrr``.
        heads: What stands above them.
        groups: Rows, with a rule between the groups.
        caption: What stands above the table.
        label: What the text refers to it by.
    """
    parts = ["\n".join(_bare_row(cells) for cells in group) for group in groups]
    body = "\n\\midrule\n".join(parts)
    return f"""\\begin{{table}}[t]
\\centering
\\caption{{{caption}}}
\\label{{{label}}}
\\small
\\begin{{tabular}}{{{shape}}}
\\toprule
{_bare_row(heads)}
\\midrule
{body}
\\bottomrule
\\end{{tabular}}
\\end{{table}}
"""


def _bare_row(cells: Sequence[str]) -> str:
    first, *others = cells
    # a bracket or a star would be taken for one of the \\\\ or of the rule before it
    first = f"{{{first}}}" if first.startswith(("[", "*")) else first
    return " & ".join([first, *others]) + r" \\"


def _cell(cell: Cell) -> str:
    text = latex_text(" ".join(cell.parts))
    return f"\\textbf{{{text}}}" if cell.strong else text


def _row(texts: Iterable[str]) -> str:
    # in braces: a cell that begins with [ would be taken for an option of the \\ before it
    return " & ".join(f"{{{text}}}" for text in texts) + r" \\"


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
