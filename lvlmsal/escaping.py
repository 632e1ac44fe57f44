"""Text of others, such as names, ids and answers, made inert: one function for each format.

A name may hold anything: marks of a markup, escape codes of a terminal, the beginning of a formula.
Whoever writes a name into a table takes the function of that format; pages are templates, which
`lvlmsal.pages` fills in.
"""

from __future__ import annotations

import re
from typing import TypeVar

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: a terminal obeys them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of what follows
    "\u2028\u2029\ufeff\ud800-\udfff]"  # line ends that are none, and halves of characters
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # full-width forms count too
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

T = TypeVar("T")


class Markdown(str):
    """Text that is Markdown on purpose, which `markdown_text` leaves alone."""


def visible(text: object, *, keep: str = "") -> str:
    r"""Text in which every sign that would act without being seen is written as ``\uXXXX``.

    Args:
        text: Any text.
        keep: Signs to leave alone, such as a line break.

    Example:
        >>> visible("\x1b[31mred\n"), visible("a\nb", keep="\n")
        ('\\u001b[31mred\\u000a', 'a\nb')
    """

    def spelled(found: re.Match[str]) -> str:
        return found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}"

    return _HIDDEN.sub(spelled, str(text))


def one_line(text: object) -> str:
    """Text in one line: white space becomes blanks, what is hidden is spelled."""
    return visible(re.sub(r"\s+", " ", str(text)))


def shortened(text: object, limit: int = 60) -> str:
    r"""Text in one line, cut where it is longer than the limit.

    Example:
        >>> shortened("a\n b", 9), shortened("a long answer", 9)
        ('a b', 'a long...')
    """
    line = one_line(text)
    return line if len(line) <= limit else line[: limit - 3].rstrip() + "..."


def markdown_text(text: object) -> str:
    r"""Text that Markdown shows as it is, also in a cell of a table.

    Signs that have no effect where they stand are left alone: the underscore of ``yes_ratio``, the
    only star of a paragraph.

    Example:
        >>> markdown_text("a|b `c` <i> **d** yes_ratio 0.05*"), markdown_text("[x](y)")
        ('a\\|b \\`c\\` &lt;i&gt; \\*\\*d\\*\\* yes_ratio 0.05\\*', '[x\\](y)')
    """
    if isinstance(text, Markdown):
        return text
    found = one_line(text)
    found = re.sub(r"\\(?=[!-/:-@\[-`{-~])", r"\\\\", found)  # a backslash before a sign acts
    found = re.sub(r"&(?=#?\w+;)", "&amp;", found).replace("<", "&lt;").replace(">", "&gt;")
    found = re.sub(r"[|`]", r"\\\g<0>", found)
    found = re.sub(r"\](?=[(\[:])", r"\\]", found)
    for sign in "*~":
        if found.count(sign) > 1:
            found = found.replace(sign, "\\" + sign)
    if found.count("_") > 1:
        found = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", found)
    return found


def csv_cell(value: T) -> T | str:
    """A cell of a CSV file: text that a spreadsheet would take for a formula gets an apostrophe.

    Numbers stay numbers, as values and as text.

    Example:
        >>> csv_cell("=1+1"), csv_cell("-1.5"), csv_cell(-1.5), csv_cell("a"), csv_cell("-x")
        ("'=1+1", '-1.5', -1.5, 'a', "'-x")
    """
    if not isinstance(value, str):
        return value
    acts = value.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(value)
    return ("'" if acts else "") + visible(value, keep="\n\t")
