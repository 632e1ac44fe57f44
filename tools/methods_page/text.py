"""Paragraphs of Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence


def wrapped(text: str) -> str:
    """A paragraph whose lines are no longer than a screen is wide."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def joined(parts: Sequence[str]) -> str:
    """A page of these paragraphs; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"
