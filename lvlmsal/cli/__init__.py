"""The command line: ``lvlmsal evaluate``, ``score``, ``list``, ``generate`` and ``saliency``.

Help, listings and the refusal of a wrong config import neither torch nor transformers: every
command imports what it needs when it runs.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after ``lvlmsal``; by default those of this process.

    Returns:
        The exit code: 0; 1 if the run is unfinished, or if `check batch` has found a difference; 2
        for an error that the user can fix, whose text goes to stderr; 130 after Ctrl+C; 143 after
        SIGTERM.
    """
    _read_clicolor()
    from lvlmsal.cli.app import app

    if not sys.stderr.isatty():
        # bars of downloads and of loading weights are for people who watch
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app(args=arguments, prog_name="lvlmsal")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _read_clicolor() -> None:
    """Say what CLICOLOR says (bixense.com/clicolors) in the names that rich knows."""
    if os.environ.get("CLICOLOR") == "0":
        os.environ.setdefault("NO_COLOR", "1")
    elif os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        os.environ.setdefault("FORCE_COLOR", "1")
