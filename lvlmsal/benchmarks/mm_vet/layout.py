"""MM-Vet's question file, made of rows of a data set on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lvlmsal.readers.hub import Folder, HubRow


def write_mm_vet(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """MM-Vet: ``mm-vet.json``; the hub's capabilities are one text with commas."""
    entries: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = row.text("question_id")
        if key in entries:
            raise row.error(f"question_id {key!r} comes twice")
        image = row.needed_image()
        name = row.optional("imagename") or image.name or f"{key}{image.suffix()}"
        folder.image(row, f"images/{name}", image)
        given = row.value("capability")
        capability = given.split(",") if isinstance(given, str) else list(given)
        entries[key] = {
            "imagename": name,
            "question": row.text("question"),
            "answer": row.text("answer"),
            "imagesource": row.optional("image_source") or row.optional("imagesource"),
            "capability": [str(text).strip() for text in capability],
        }
        folder.samples += 1
    folder.json("mm-vet.json", entries)
