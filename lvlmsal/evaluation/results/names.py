"""What the files of a run folder are called."""

from __future__ import annotations

import re

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
RECORDS = "records.jsonl"
RESULTS = "results.json"
TABLE = "results.md"
REPORT = "report.html"
LOG = "log.txt"
REPLIES = "judge.jsonl"
SUBSETS = "subsets"


def per_benchmark(label: str, suffix: str) -> str:
    """A benchmark's file in a folder that has one for each, such as `SUBSETS`.

    Example:
        >>> per_benchmark("pope/random", ".txt"), per_benchmark("../x", ".txt")
        ('pope/random.txt', '_/x.txt')
    """
    parts = [re.sub(r"[^\w.+ -]", "_", part).strip(". ") or "_" for part in label.split("/")]
    return "/".join(parts) + suffix
