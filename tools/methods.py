"""Write docs/methods.md: what each registered method is and costs, and what a run found.

``python tools/methods.py runs/methods --costs benchmarks/results/methods.json`` shows a run, or
several; without arguments the page says what is registered.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lvlmsal.errors import LvlmsalError
from lvlmsal.escaping import visible
from methods_page.page import method_page


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the page; the exit code is 2 for an error that the user can fix."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, help="run folders whose results are shown")
    parser.add_argument("--costs", type=Path, help="JSON file that benchmarks/methods.py wrote")
    parser.add_argument(
        "--control",
        action="append",
        default=[],
        metavar="METHOD",
        help="method of the run to compare those with that decode like it; may be repeated",
    )
    parser.add_argument("--command", default="", help="what the page calls the command behind it")
    parser.add_argument("-o", "--output", type=Path, help="file to write instead of printing")
    given = parser.parse_args(arguments)
    try:
        page = method_page(
            given.runs, costs=given.costs, controls=given.control, command=given.command
        )
        if given.output is None:
            print(page, end="")
        else:
            given.output.write_text(page, encoding="utf-8", newline="\n")
    except LvlmsalError as error:
        print(visible(f"error: {error}", keep="\n\t"), file=sys.stderr)
        return 2
    except OSError as error:
        print(visible(f"error: {given.output}: {error.strerror}"), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
