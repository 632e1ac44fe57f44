"""VizWiz VQA's annotation file, made of rows of a data set on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lvlmsal.readers.hub import Folder, HubRow, with_suffix


def write_vizwiz(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """VizWiz VQA: an annotation file.

    The hub has the texts of the answers alone, so ``answer_confidence`` is ``unknown``, and a
    question is answerable unless its category says otherwise.
    """
    entries = []
    for row in rows:
        name = with_suffix(row.text("question_id"), ".jpg")
        if f"{split}/{name}" in folder.images:
            raise row.error(f"question_id {name!r} comes twice; it is the name of the image")
        folder.image(row, f"{split}/{name}")
        entry: dict[str, Any] = {"image": name, "question": row.text("question")}
        answers = row.data.get("answers") or []
        if answers:
            kind = row.text("category").lower()
            entry["answers"] = [
                {"answer": str(answer), "answer_confidence": "unknown"} for answer in answers
            ]
            entry |= {"answer_type": kind, "answerable": int(kind != "unanswerable")}
        entries.append(entry)
        folder.samples += 1
    folder.json(f"Annotations/{split}.json", entries)
