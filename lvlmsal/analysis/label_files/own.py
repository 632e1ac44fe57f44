"""Labels of one's own: JSON lines with image, prompt, answer and labeled spans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvlmsal.analysis.label_files.answers import Label, LabeledAnswer
from lvlmsal.readers.rows import Row, read_json_rows


def read_own(path: Path, images: Path) -> list[LabeledAnswer]:
    """Read a file of JSON objects, one a line.

    Each has ``image`` (a path from the folder of the images, or a list of them), ``prompt``,
    ``answer`` and ``labels``, a list of ``{"start": 4, "end": 9, "wrong": true}`` in characters of
    the answer, half-open; ``group`` and ``own`` are optional. Other keys are left alone.

    Args:
        path: The file.
        images: Folder of the images.

    Raises:
        DataError: A line lacks something, or a label is no span of its answer.
    """
    return [_answer(row, number, images) for number, row in enumerate(read_json_rows(path))]


def _answer(row: Row, number: int, images: Path) -> LabeledAnswer:
    answer = row.text("answer")
    image = row.data.get("image", [])
    names = [image] if isinstance(image, str) else image
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise row.error(f"'image' must be a path or a list of paths, got {image!r}")
    labels = row.data.get("labels")
    if not isinstance(labels, list):
        raise row.error(f"'labels' must be a list of spans, got {labels!r}")
    own = row.data.get("own", False)
    if not isinstance(own, bool):
        raise row.error(f"'own' must be true or false, got {own!r}")
    return LabeledAnswer(
        str(row.data.get("id", number)),
        tuple(images / name for name in names),
        row.text("prompt"),
        answer,
        tuple(_label(row, label, answer) for label in labels),
        str(row.data.get("group", " ".join(names))),
        own,
    )


def _label(row: Row, label: Any, answer: str) -> Label:
    held: dict[str, Any] = label if isinstance(label, dict) else {}
    start, end, wrong = held.get("start"), held.get("end"), held.get("wrong")
    # exactly int: True is one, too
    is_span = type(start) is int and type(end) is int and 0 <= start < end <= len(answer)
    if not is_span or not isinstance(wrong, bool):
        raise row.error(
            f"a label must be {{'start': ..., 'end': ..., 'wrong': true or false}} with characters "
            f"of the answer, which has {len(answer)}: got {label!r}"
        )
    return Label(held["start"], held["end"], wrong)
