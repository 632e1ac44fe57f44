"""Run folders that tests change by hand, and what is compared of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from lvlmsal.evaluation.results.records import TIMINGS


def cut(folder: Path, keep: int) -> None:
    path = folder / "records.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:keep]))


def notes_of(folder: Path) -> dict[str, bytes]:
    """What must stay as it is when a run is refused."""
    paths = [folder / "records.jsonl", folder / "environment.json", *folder.glob("samples/**/*.*")]
    return {str(path): path.read_bytes() for path in paths}


def without_costs(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "records.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in TIMINGS} for x in lines]


def repaint(path: Path) -> None:
    with Image.open(path) as image:
        other = Image.new("RGB", image.size, (9, 99, 199))
    other.save(path)
