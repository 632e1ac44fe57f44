"""What every file of labels is read into: answers with labeled spans, and how they are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lvlmsal.detection.words import Aggregate
from lvlmsal.readers.rows import Row

DESCRIBE: Final = "Please describe this image in detail."
"""What is asked where a data set does not say what was."""


@dataclass(frozen=True)
class Label:
    """A labeled span of an answer.

    Attributes:
        start: Index of its first character.
        end: Index behind its last one.
        wrong: Whether it is wrong.
    """

    start: int
    end: int
    wrong: bool


@dataclass(frozen=True)
class LabeledAnswer:
    """An answer some of whose words are labeled; what is not labeled is not known.

    Attributes:
        id: Of the line.
        images: Files of the question's images.
        prompt: The question.
        answer: The answer.
        labels: Its labeled spans.
        group: What is resampled and split as a whole: the image by default.
        own: Whether the model under test gave this answer. Answers of others hold words that it
            would not have said; they are scored apart.
        aggregate: What makes one score of a span's tokens: the first of a word, the mean of a
            sentence, in which no single token stands for the rest.
    """

    id: str
    images: tuple[Path, ...]
    prompt: str
    answer: str
    labels: tuple[Label, ...]
    group: str
    own: bool = False
    aggregate: Aggregate = "first"


def text_without_image(row: Row, key: str) -> str:
    """The string under a key without the mark ``<image>`` of some data sets.

    Raises:
        DataError: There is none.
    """
    return row.text(key).replace("<image>", "").strip()


def image_file(folder: Path, name: str) -> Path:
    """Where an image lies: under its path in a folder, or under its name alone.

    Args:
        folder: Of the images.
        name: As a data set names it, such as ``/train2014/COCO_train2014_000000000009.jpg``.
    """
    there = folder / name.lstrip("/")
    return there if there.is_file() else folder / Path(name).name


def coco_file(folder: Path, number: int | str) -> Path:
    """The image of COCO's val2014 with a number.

    >>> coco_file(Path("val2014"), "42").name
    'COCO_val2014_000000000042.jpg'
    """
    return folder / f"COCO_val2014_{int(number):012d}.jpg"


def entries(row: Row, holder: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of objects under a key of a row, or of an object in it.

    Raises:
        DataError: There is none, or it holds something else.
    """
    found = holder.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise row.error(f"'{key}' must be a list of objects, got {found!r}")
    return found


def check_span(row: Row, start: object, end: object, text: str, what: object) -> tuple[int, int]:
    """A half-open interval of characters that lies in a text.

    Args:
        row: Where it stands.
        start: Index of its first character.
        end: Index behind its last one.
        text: The answer.
        what: What the message shows.

    Raises:
        DataError: It does not.
    """
    # exactly int: True is one, too
    if type(start) is int and type(end) is int and 0 <= start < end <= len(text):
        return start, end
    raise row.error(
        f"expected 0 <= start < end within the answer, which has {len(text)} characters: "
        f"got {what!r}"
    )


def one_claim(id: str, image: Path, claim: str, *, wrong: bool) -> LabeledAnswer | None:
    """A statement about an image that is right or wrong as a whole; None for an empty one."""
    if not claim.strip():
        return None
    label = Label(0, len(claim), wrong)
    return LabeledAnswer(id, (image,), DESCRIBE, claim, (label,), image.name, aggregate="mean")
