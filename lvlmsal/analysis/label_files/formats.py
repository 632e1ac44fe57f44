"""The files of labels that can be read, by what they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from lvlmsal.analysis.label_files.answers import LabeledAnswer
from lvlmsal.analysis.label_files.faithscore import read_faithscore
from lvlmsal.analysis.label_files.halloc import read_halloc
from lvlmsal.analysis.label_files.m_haldetect import read_m_haldetect
from lvlmsal.analysis.label_files.mhalubench import read_mhalubench
from lvlmsal.analysis.label_files.own import read_own
from lvlmsal.errors import UnknownName

Reader = Callable[[Path, Path], list[LabeledAnswer]]

READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "own": read_own,
        "m-haldetect": read_m_haldetect,
        "halloc": read_halloc,
        "mhalubench": read_mhalubench,
        "faithscore": read_faithscore,
    }
)


def read_labeled(
    path: Path, format: str = "own", images: Path | None = None
) -> list[LabeledAnswer]:
    """Read a file of labels.

    Args:
        path: The file.
        format: A name in `READERS`.
        images: Folder of the images; by default that of the file.

    Raises:
        UnknownName: There is no such format.
        DataError: Something in the file is not as it should be; the message says in which line.
    """
    if format not in READERS:
        raise UnknownName("format of labels", format, list(READERS))
    return READERS[format](path, images or path.parent)
