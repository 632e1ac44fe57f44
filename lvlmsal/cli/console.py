"""Where commands print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lvlmsal.escaping import visible

if TYPE_CHECKING:
    from rich.console import Console


UNFINISHED = 1
"""Exit code for values of an unfinished run."""


def new_console() -> Console:
    """Standard output; wide enough for tables where it is not a terminal."""
    from rich.console import Console

    # names may hold anything, so nothing that is printed is markup
    console = Console(markup=False, emoji=False)
    return console if console.is_terminal else Console(width=140, markup=False, emoji=False)


def say(text: str) -> None:
    """Print lines of text with escape codes made visible."""
    print(visible(text, keep="\n\t"))


def print_json(content: Any) -> None:
    """Print content as JSON, for programs."""
    # an escape code that is spelled \uXXXX is the same text in JSON
    print(visible(json.dumps(content, indent=2, ensure_ascii=False), keep="\n"))
