"""Take what READMEs of hub repositories show of each method from its page in docs/methods/.

``python tools/hub_numbers.py`` writes lvlmsal/hub/numbers.json; ``make methods`` does so, too.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "methods"
NUMBERS = ROOT / "lvlmsal" / "hub" / "numbers.json"
HEADING = "\n## What it did to the shipped models\n"


def tables_of(page: str) -> str:
    """The tables under `HEADING` with their titles; empty where there are none."""
    section = page.partition(HEADING)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith(("### ", "| "))]
    text = "\n".join(f"\n{line}\n" if line.startswith("### ") else line for line in lines)
    return text.strip("\n")


def numbers() -> dict[str, str]:
    """Tables by the method's name."""
    pages = sorted(PAGES.glob("*.md"))
    found = {page.stem: tables_of(page.read_text(encoding="utf-8")) for page in pages}
    return {name: tables for name, tables in found.items() if tables}


def main() -> None:
    """Write the file."""
    text = json.dumps(numbers(), indent=1, ensure_ascii=False)
    NUMBERS.write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
