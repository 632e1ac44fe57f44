"""What is said under tables about how methods read saliency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def readers_text(cells: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """From which row those read saliency that choose tokens by it; empty where none does.

    Args:
        cells: What a table calls them, and their entries in ``results.json``.

    >>> readers_text([("a", {"saliency_row": "candidate"}), ("b", {})])
    " Saliency is read from the candidate row by 'a'."
    """
    readers: dict[str, dict[str, None]] = {}
    for title, cell in cells:
        if row := cell.get("saliency_row"):
            readers.setdefault(row, {})[repr(title)] = None
    return "".join(
        f" Saliency is read from the {row} row by {', '.join(titles)}."
        for row, titles in readers.items()
    )
