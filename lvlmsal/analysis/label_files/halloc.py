"""HalLoc: answers into which a language model has written wrong words, with their places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lvlmsal.analysis.label_files.answers import (
    Label,
    LabeledAnswer,
    check_span,
    entries,
    image_file,
    text_without_image,
)
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.readers.rows import Row, read_json_rows


def read_halloc(path: Path, images: Path) -> list[LabeledAnswer]:
    """Read ``halloc_vqa.json``, ``halloc_instruct.json`` or ``halloc_caption.json``.

    See https://arxiv.org/abs/2506.10286. Each object has ``id``, ``image_id`` (of Visual Genome),
    ``prompt``, ``hallucinated_text`` and ``annotations``, lists by kind of words with
    ``char_index``, such as ``{"object": [{"obj": {"name": "truck", "char_index": "51:56"}}]}``.

    Labeled are the objects: those under ``object`` are wrong, and other objects of COCO in the text
    are right unless a word of another kind (attribute, relationship, scene) stands there.

    Args:
        path: The file.
        images: Folder of the images of Visual Genome, ``<image_id>.jpg``.

    Raises:
        DataError: An entry lacks a key, or a place is none in the text.
    """
    vocabulary = Vocabulary.coco()
    return [_answer(row, images, vocabulary) for row in read_json_rows(path)]


def _answer(row: Row, images: Path, vocabulary: Vocabulary) -> LabeledAnswer:
    text, image = row.text("hallucinated_text"), str(row.identifier("image_id"))
    kinds = row.data.get("annotations")
    if not isinstance(kinds, dict):
        raise row.error(f"'annotations' must be an object with a list for each kind, got {kinds!r}")
    taken: list[tuple[int, int]] = []
    wrong: list[tuple[int, int]] = []
    for kind in kinds:
        places = [
            place for entry in entries(row, kinds, kind) for place in _places(row, entry, text)
        ]
        taken += places
        if kind == "object":
            wrong += places
    labels = [Label(start, end, wrong=True) for start, end in dict.fromkeys(wrong)]
    labels += [
        Label(start, end, wrong=False)
        for start, end in vocabulary.scan(text).places
        if not any(first < end and last > start for first, last in taken)
    ]
    file = image_file(images, image if Path(image).suffix else f"{image}.jpg")
    prompt = text_without_image(row, "prompt")
    return LabeledAnswer(str(row.identifier("id")), (file,), prompt, text, tuple(labels), image)


def _places(row: Row, entry: dict[str, Any], text: str) -> Iterator[tuple[int, int]]:
    """The intervals that the words of an annotation take."""
    for word in entry.values():
        if not isinstance(word, dict):
            raise row.error(f"'annotations': expected words with 'char_index', got {entry!r}")
        index = word.get("char_index")
        found = re.fullmatch(r"(\d+):(\d+)", index) if isinstance(index, str) else None
        if found is None:
            raise row.error(f"'char_index' must be text such as '51:56', got {index!r}")
        yield check_span(row, int(found[1]), int(found[2]), text, index)
