"""HallusionBench's question file, made of rows of a data set on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lvlmsal.readers.hub import Folder, HubRow


def write_hallusionbench(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """HallusionBench: the question file, all of whose values are texts, and the images."""
    keys = ("category", "subcategory", "visual_input", "set_id", "figure_id", "question_id")
    entries = []
    for row in rows:
        entry: dict[str, Any] = {key: row.text(key) for key in keys}
        name = None
        image = row.image()
        if image is not None:
            folders = f"{entry['category']}/{entry['subcategory']}"
            fallback = f"{folders}/{entry['set_id']}_{entry['figure_id']}{image.suffix()}"
            name = row.optional("filename").removeprefix("./") or fallback
            folder.image(row, f"hallusion_bench/{name}", image)
        entry |= {
            "sample_note": row.optional("sample_note"),
            "question": row.text("question"),
            "gt_answer_details": row.text("gt_answer_details"),
            "gt_answer": row.text("gt_answer"),
            "filename": name,
        }
        entries.append(entry)
        folder.samples += 1
    folder.json("HallusionBench.json", entries)
