"""POPE's question files, made of rows of a data set on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from lvlmsal.errors import DataError
from lvlmsal.readers.hub import Folder, HubRow, with_suffix
from lvlmsal.readers.rows import normal_id


def write_pope(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """POPE: a question file for each category.

    Ids restart in each category and are texts on the hub; `image_source` has no suffix there.
    """
    questions: dict[str, list[dict[str, Any]]] = {}
    seen: set[tuple[str, object]] = set()
    for row in rows:
        name = with_suffix(row.text("image_source"), ".jpg")
        place = "val2014" if name.startswith("COCO_val2014_") else "images"
        folder.image(row, f"{place}/{name}")
        category = row.optional("category").lower() or split
        number = normal_id(row.text("question_id", "id"))
        if (category, number) in seen:
            raise row.error(f"question_id {number} comes twice in the category {category!r}")
        seen.add((category, number))
        label = row.text("answer").strip().lower()
        if label not in ("yes", "no"):
            raise row.error(f"the answer must be yes or no, got {label!r}")
        questions.setdefault(category, []).append(
            {"question_id": number, "image": name, "text": row.text("question"), "label": label}
        )
        folder.samples += 1
    places = {PurePosixPath(name).parts[0] for name in folder.images}
    if len(places) > 1:
        raise DataError("some images are of COCO val2014 and some are not")
    prefix = "coco" if places == {"val2014"} else "hub"
    for category, lines in questions.items():
        folder.json_lines(f"pope/{prefix}_pope_{category}.json", lines)
