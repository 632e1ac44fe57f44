"""Where commands print."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlmsal.escaping import visible

if TYPE_CHECKING:
    from rich.console import Console

    from lvlmsal.tables.table import Table


UNFINISHED = 1
"""Exit code for values of an unfinished run."""

PIPE_WIDTH = 120
"""Of what is printed into a pipe or a file, in characters."""


def new_console() -> Console:
    """Standard output, as wide as the terminal or as COLUMNS says, and a page's width otherwise."""
    from rich.console import Console

    # names may hold anything, so nothing that is printed is markup
    console = Console(markup=False, emoji=False)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdecimal():
        return console
    return Console(width=PIPE_WIDTH, markup=False, emoji=False)


def say(text: str) -> None:
    """Print lines of text with escape codes made visible."""
    print(visible(text, keep="\n\t"))


def print_json(content: Any) -> None:
    """Print content as JSON, for programs."""
    # an escape code that is spelled \uXXXX is the same text in JSON
    print(visible(json.dumps(content, indent=2, ensure_ascii=False), keep="\n"))


def print_report(
    tables: Sequence[Table], folder: Path, files: Sequence[str], notes: Sequence[str]
) -> None:
    """Print what an analysis found, and where it was written.

    Args:
        tables: Of the analysis.
        folder: That it wrote into.
        files: Names of the files there.
        notes: What is missing, and why.
    """
    from lvlmsal.tables.terminal import terminal_document

    console = new_console()
    console.print(terminal_document(tables, [], console.width))
    for line in [*notes, *(f"written: {folder / name}" for name in files)]:
        console.print(visible(line), markup=False, highlight=False, soft_wrap=True)
