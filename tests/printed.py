"""What tables look like when they are printed, read back by other means than they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass

_INTERVAL = re.compile(r"\[[-+]?\d+(\.\d+)?, [-+]?\d+(\.\d+)?\]")


def assert_holds(text: str, width: int) -> None:
    """No line of a printed table is longer than the width, and no interval goes over two lines."""
    for line in text.splitlines():
        assert len(line.rstrip()) <= width, line
        if "│" in line:
            assert len(re.findall(r"\[[-+\d]", line)) == len(_INTERVAL.findall(line)), line
            assert not re.search(r"\d,? *│ +\d+\.?\d*\]", line), line


@dataclass(frozen=True)
class LatexFloat:
    """A table of a LaTeX document."""

    caption: str
    label: str
    shape: str
    rows: list[list[str]]
    """The cells of every row, headings first; a rule between groups is an empty list."""


# What the kernel of LaTeX has, and booktabs.
_KERNEL = {
    *("begin", "end", "centering", "caption", "label", "small", "textbf", "phantom", "mathrm"),
    *("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"),
    *("char", "textasciigrave", "textquotesingle", "ldots"),
    *("Delta", "pm", "uparrow", "downarrow", "cdot", "geq", "leq"),
}
_BOOKTABS = {"toprule", "midrule", "bottomrule"}


def read_latex(text: str) -> list[LatexFloat]:
    """The floats of a document, after a check that LaTeX would get through it.

    Braces, dollars and environments have to be closed, every command has to be one of the kernel
    or of booktabs, and rows need as many cells as the table has columns.
    """
    text = re.sub(r"(?<!\\)%.*", "", text)
    assert set(re.findall(r"\\([A-Za-z]+)", text)) <= _KERNEL | _BOOKTABS
    # only what LaTeX may see outside of text: escaped signs are out of the way
    bare = re.sub(r"\\[&%$#_{}\\,]", "  ", text)
    depth = 0
    in_math = False
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        in_math ^= sign == "$"
        assert depth >= 0
        assert in_math or sign not in "_^", bare
        assert sign not in "#~"
    assert (depth, in_math) == (0, False)
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    return [_float(body) for body in re.findall(r"\\begin\{table\}(.*?)\\end\{table\}", text, re.S)]


def _float(body: str) -> LatexFloat:
    (caption,) = re.findall(r"\\caption\{(.*)\}\n", body)
    (label,) = re.findall(r"\\label\{(.*)\}\n", body)
    ((shape, content),) = re.findall(
        r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, re.S
    )
    content = content.strip()
    assert content.startswith(r"\toprule")
    assert content.endswith(r"\bottomrule")
    rows: list[list[str]] = []
    for line in content.removeprefix(r"\toprule").removesuffix(r"\bottomrule").split("\n"):
        if line == r"\midrule":
            rows.append([])
        elif line:
            assert line.endswith(r" \\")
            # a bracket or a star after \\ or a rule would be an option of that
            assert not line.startswith(("[", "*"))
            cells = re.split(r"(?<!\\)&", line.removesuffix(r" \\"))
            assert len(cells) == len(shape), line
            rows.append([cell.strip() for cell in cells])
    return LatexFloat(caption, label, shape, rows)
