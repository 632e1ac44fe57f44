"""All benchmarks, one after the other, and the page that shows them.

    python benchmarks/run.py            # about 20 minutes on two cores
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
    "products": 10,
    "steps": 300,
    "methods": 300,
    "trained": 35,
    "diagnosis": 110,
    "memory": 90,
    "scaling": 85,
    "prefill": 60,
    "throughput": 85,
}
"""Seconds that each part aims at: what is left of them is shared out again before each part."""


def main() -> int:
    """The exit code: 1 where a part failed."""
    options = arguments(__doc__, [("--docs", {"type": Path, "help": "folder of the page"})])
    folder, failed, began = Path(__file__).parent, [], time.perf_counter()
    shared = ["--results", str(options.results), *(["--small"] if options.small else [])]
    parts = list(PARTS)
    for part in parts:
        left = sum(PARTS.values()) - (time.perf_counter() - began)
        planned = sum(PARTS[later] for later in parts[parts.index(part) :])
        seconds = max(5, round(PARTS[part] * min(1.0, left / planned)))
        print(f"--- {part} ({seconds} s)", flush=True)
        (options.results / f"{part}.json").unlink(missing_ok=True)
        command = [sys.executable, str(folder / f"{part}.py"), *shared, "--seconds", str(seconds)]
        try:
            code = subprocess.run(command, timeout=2 * seconds + 120, check=False).returncode
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
