"""All benchmarks, one after the other, and the page that shows them.

    python benchmarks/run.py            # about 13 minutes on two cores
    python benchmarks/run.py --small    # do they run?

A part that fails or runs out of time is named at the end, and the others go on.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from support.results import arguments

PARTS = {
    "steps": 370,
    "trained": 50,
    "diagnosis": 140,
    "memory": 90,
    "scaling": 90,
    "prefill": 60,
}
"""Seconds that each part aims at; one that takes half as long again and a minute is stopped."""


def main() -> int:
    """The exit code: 1 where a part failed."""
    options = arguments(__doc__, [("--docs", {"type": Path, "help": "folder of the page"})])
    folder, failed, began = Path(__file__).parent, [], time.perf_counter()
    shared = ["--results", str(options.results), *(["--small"] if options.small else [])]
    for part, seconds in PARTS.items():
        print(f"--- {part} ({seconds} s)", flush=True)
        (options.results / f"{part}.json").unlink(missing_ok=True)
        command = [sys.executable, str(folder / f"{part}.py"), *shared, "--seconds", str(seconds)]
        try:
            code = subprocess.run(command, timeout=1.5 * seconds + 60, check=False).returncode
        except subprocess.TimeoutExpired:
            code = "out of time"
        if code:
            failed.append(f"{part} ({code if isinstance(code, str) else f'exit code {code}'})")
    command = [sys.executable, str(folder / "report.py"), "--results", str(options.results)]
    docs = ["--docs", str(options.docs)] if options.docs else []
    if subprocess.run([*command, *docs], check=False).returncode:
        failed.append("report")
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes")
    for name in failed:
        print(f"FAILED: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
