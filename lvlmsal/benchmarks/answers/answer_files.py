"""Answers and captions made elsewhere, matched with their questions and images."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Hashable, Sequence
from pathlib import Path
from typing import TypeVar

from lvlmsal.errors import DataError
from lvlmsal.readers.rows import Identifier, Row, listed, read_json_rows, read_text

K = TypeVar("K", bound=Hashable)

_IMAGE_NAME = re.compile(r"(?:.*[/_])?(\d+)\.(?:jpe?g|png)", re.IGNORECASE)


def read_captions(
    path: Path | str,
    known: Collection[Identifier],
    *,
    image_id_key: str = "image_id",
    caption_key: str = "caption",
) -> dict[Identifier, str]:
    """Captions by the id of their image.

    Three layouts are in use: JSON lines (OPERA, PAI), a JSON array (COCO's results), and the object
    of the original CHAIR script, whose ``imgToEval`` holds an object for each caption.

    Args:
        path: A file in one of these layouts, one object for each image.
        known: Ids of the annotated images.
        image_id_key: Where the id stands. A string that spells a number is that number, and the
            name of a file of COCO, ``COCO_val2014_000000000042.jpg``, stands for the id in it.
        caption_key: Where the caption stands.

    Returns:
        The captions in the order of the file.

    Raises:
        DataError: An id is unknown or occurs twice, or a key is missing.
    """
    path = Path(path)
    rows = _evaluated(path) or read_json_rows(path)
    found = match_rows(rows, lambda row: _image_id(row, image_id_key), known, image_id_key)
    return {image: row.text(caption_key) for image, row in found.items()}


def _evaluated(path: Path) -> list[Row]:
    """The captions of a file of the original CHAIR script; nothing if it is not such a file."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError):
        return []  # not one JSON value: lines, which their reader checks
    if not isinstance(content, dict) or not isinstance(content.get("imgToEval"), dict):
        return []
    rows = [Row(path, 1, entry) for entry in content["imgToEval"].values()]
    if not rows or not all(isinstance(row.data, dict) for row in rows):
        raise DataError("'imgToEval' must hold an object for each caption", path=path)
    return rows


def _image_id(row: Row, key: str) -> Identifier:
    """The id under a key, or in the file name that stands there."""
    found = row.identifier(key)
    if isinstance(found, str) and (name := _IMAGE_NAME.fullmatch(found)):
        return int(name[1])
    return found


def match_rows(
    rows: Sequence[Row], key_of: Callable[[Row], K], known: Collection[K], name: str
) -> dict[K, Row]:
    """Rows by their key, each of which must be known and occur once.

    Args:
        rows: The lines of an answer file.
        key_of: From a line to its key.
        known: The keys of the questions or images.
        name: What messages call the key, such as ``question_id``.

    Returns:
        The lines in their order; keys without a line are missing.

    Raises:
        DataError: A key is unknown or occurs twice.
    """
    found: dict[K, Row] = {}
    unknown: list[tuple[Row, K]] = []
    for row in rows:
        key = key_of(row)
        if key not in known:
            unknown.append((row, key))
        elif found.setdefault(key, row) is not row:
            raise row.error(
                f"{name} {_plain(key)} occurs a second time; it was in line {found[key].line}. "
                "Counted twice it would change the figures, so keep one of the two"
            )
    if unknown:
        ids = listed(_plain(key) for _, key in unknown)
        raise unknown[0][0].error(
            f"{len(unknown)} of {len(rows)} lines have an unknown {name}: {ids}; the other file "
            f"has {len(known)}"
        )
    return found


def _plain(key: Hashable) -> object:
    """The id that a message shows; the category is left out where it is empty."""
    if isinstance(key, tuple):
        return key[1] if key[0] == "" else f"{key[0]}/{key[1]}"
    return key
