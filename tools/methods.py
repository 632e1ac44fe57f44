"""Write docs/methods.md and docs/methods/: what each method is and costs, and what runs found.

``python tools/methods.py runs/methods --costs benchmarks/results/methods.json -o docs`` shows a
run, or several; without a run the pages say what is registered. Without ``-o`` the index is
printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lvlmsal.errors import LvlmsalError
from lvlmsal.escaping import visible
from methods_page.pages import method_pages


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write pages; the exit code is 2 for an error that the user can fix."""
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
    parser.add_argument("-o", "--output", type=Path, help="folder to write to")
    given = parser.parse_args(arguments)
    try:
        pages = method_pages(
            given.runs, costs=given.costs, controls=given.control, command=given.command
        )
        if given.output is None:
            print(pages["methods.md"], end="")
        else:
            given.output.joinpath("methods").mkdir(exist_ok=True)
            for name, page in pages.items():
                given.output.joinpath(name).write_text(page, encoding="utf-8", newline="\n")
    except LvlmsalError as error:
        print(visible(f"error: {error}", keep="\n\t"), file=sys.stderr)
        return 2
    except OSError as error:
        print(visible(f"error: {given.output}: {error.strerror}"), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
