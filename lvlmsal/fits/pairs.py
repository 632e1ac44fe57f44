"""Pairs of a right and a wrong description of one image: what directions are fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from lvlmsal.errors import UnknownName
from lvlmsal.readers.rows import Row, read_json_rows

DESCRIBE: Final = "Describe this image in detail."
"""What is asked where a file does not say what was."""


@dataclass(frozen=True)
class Pair:
    """Two answers to one question about one image.

    Attributes:
        id: of the line.
        image: file of the image.
        prompt: the question.
        right: an answer that is true of the image.
        wrong: the like with something that is not there.
    """

    id: str
    image: Path
    prompt: str
    right: str
    wrong: str


def read_pairs(path: Path, format: str = "own", images: Path | None = None) -> list[Pair]:
    """Read a file of pairs.

    Args:
        path: the file.
        format: a name in :data:`READERS`.
        images: folder of the images; by default that of the file.

    Raises:
        UnknownName: there is no such format.
        DataError: a line lacks something; the message says which.
    """
    if format not in READERS:
        raise UnknownName("format of pairs", format, list(READERS))
    folder = images or path.parent
    return [READERS[format](row, number, folder) for number, row in enumerate(read_json_rows(path))]


def _own(row: Row, number: int, folder: Path) -> Pair:
    """``image``, ``prompt``, ``answer`` and ``wrong_answer``; ``id`` may be left out."""
    return Pair(
        str(row.data.get("id", number)),
        folder / row.text("image"),
        row.text("prompt"),
        row.text("answer"),
        row.text("wrong_answer"),
    )


def _lure(row: Row, number: int, folder: Path) -> Pair:
    """``image``, ``value`` and ``h_value``, and at times ``question``: LURE's and VTI's files."""
    return Pair(
        str(row.data.get("id", number)),
        folder / row.text("image"),
        row.text("question") if "question" in row.data else DESCRIBE,
        row.text("value"),
        row.text("h_value"),
    )


READERS: Final[Mapping[str, Callable[[Row, int, Path], Pair]]] = MappingProxyType(
    {"own": _own, "lure": _lure}
)
"""Formats of files of pairs, JSON objects one a line."""
