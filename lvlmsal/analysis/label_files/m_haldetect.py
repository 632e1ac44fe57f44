"""M-HalDetect: descriptions by InstructBLIP whose segments people have labeled."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lvlmsal.analysis.label_files.answers import (
    Label,
    LabeledAnswer,
    check_span,
    coco_file,
    entries,
    image_file,
    text_without_image,
)
from lvlmsal.readers.rows import Row, read_json_rows

_WRONG: Final = {"ACCURATE": False, "INACCURATE": True, "ANALYSIS": None, "UNSURE": None}


def read_m_haldetect(path: Path, images: Path) -> list[LabeledAnswer]:
    """Read ``train_raw.json`` or ``val_raw.json`` (https://arxiv.org/abs/2308.06394).

    A list of objects with ``question``, ``response``, ``image`` (of COCO's val2014, by file name or
    number) and ``annotations``: ``{"start", "end", "text", "label"}``, characters of the response,
    half-open. Segments are ACCURATE or INACCURATE; those labeled ANALYSIS or UNSURE are nothing
    that an image could show to be right or wrong, and stay unlabeled.

    Args:
        path: The file.
        images: Folder of COCO's val2014.

    Raises:
        DataError: An entry lacks a key, a segment is not where it says, or a label is another.
    """
    return [_answer(row, number, images) for number, row in enumerate(read_json_rows(path))]


def _answer(row: Row, number: int, images: Path) -> LabeledAnswer:
    response, image = row.text("response"), str(row.identifier("image"))
    labels = []
    for entry in entries(row, row.data, "annotations"):
        start, end = check_span(row, entry.get("start"), entry.get("end"), response, entry)
        text, label = entry.get("text"), entry.get("label")
        if not isinstance(text, str) or text.strip() != response[start:end].strip():
            raise row.error(
                f"'annotations': the characters {start} to {end} of the response are "
                f"{response[start:end]!r}, and 'text' is {text!r}"
            )
        if label not in _WRONG:
            raise row.error(
                f"'annotations': 'label' must be one of {', '.join(_WRONG)}, got {label!r}"
            )
        if (wrong := _WRONG[label]) is not None:
            labels.append(Label(start, end, wrong))
    return LabeledAnswer(
        str(number),
        (coco_file(images, image) if image.isdigit() else image_file(images, image),),
        text_without_image(row, "question"),
        response,
        tuple(labels),
        image,
        aggregate="mean",
    )
