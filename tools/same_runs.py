"""Whether two runs of one config gave the same answers and the same results.

    python tools/same_runs.py runs/before runs/after

Run a config before and after a change, into two folders; everything but what the clock and the
machine decide must be equal: every key of every record, and every value of ``results.json``.
Values may be rounded elsewhere in their last digits, so numbers are compared to 1e-9. Keys that
only the second run has are listed and do not count as a difference.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEASURED = {"seconds", "peak_memory", "tokens_per_second", "ms_per_token"}
"""What the clock and the machine decide."""
TOLERANCE = 1e-9
SHOWN = 20


def differences(before: Any, after: Any, place: str, new: list[str]) -> Iterator[str]:
    """One text for each place in which two JSON values differ; `new` takes keys that were added."""
    if isinstance(before, dict) and isinstance(after, dict):
        new += [f"{place}/{key}" for key in after.keys() - before.keys()]
        for key in before.keys() - MEASURED:
            if key not in after:
                yield f"{place}/{key}: only in the first run"
            else:
                yield from differences(before[key], after[key], f"{place}/{key}", new)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(*pair, f"{place}/{number}", new)
    elif isinstance(before, float) and isinstance(after, float):
        if not math.isclose(before, after, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            yield f"{place}: {before!r} and {after!r}"
    elif before != after:
        yield f"{place}: {before!r} and {after!r}"


def content(folder: Path) -> dict[str, Any]:
    """The records of a run folder by key, and its results."""
    with (folder / "records.jsonl").open(encoding="utf-8") as lines:
        records = {record["key"]: record for record in map(json.loads, lines)}
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {"records": records, "results": results}


def main() -> int:
    """Compare the two folders that the command line names; 1 where they differ."""
    before, after = (content(Path(name)) for name in sys.argv[1:3])
    new: list[str] = []
    found = list(differences(before, after, "", new))
    print(*found[:SHOWN], sep="\n", end="\n" if found else "")
    if new:
        print(f"only in the second run: {', '.join(sorted(set(new))[:SHOWN])}")
    print(f"{len(before['records'])} records, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
