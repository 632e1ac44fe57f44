"""Where commands print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def new_console() -> Console:
    """Standard output; wide enough for tables where it is not a terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=140)


def print_json(content: Any) -> None:
    """Print what a program is to read."""
    print(json.dumps(content, indent=2, ensure_ascii=False))
