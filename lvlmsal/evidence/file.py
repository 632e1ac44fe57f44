"""Evidence from a file: results of any model, made anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from lvlmsal.adapters.images import open_image
from lvlmsal.errors import DataError, LvlmsalError
from lvlmsal.evidence.base import (
    Box,
    Detector,
    ObjectLister,
    Relevance,
    RelevanceMap,
    TextScorer,
)
from lvlmsal.pictures import digest_of
from lvlmsal.readers.digests import file_digest
from lvlmsal.readers.shapes import misfit
from lvlmsal.registry import EVIDENCE

_NUMBER = (int, float)

_LINE = {
    "image?": str,
    "digest?": str,
    "text?": str,
    "objects?": list,
    "map?": [[_NUMBER]],
    "similarity?": _NUMBER,
    "word?": str,
    "boxes?": [[_NUMBER]],
    "score?": _NUMBER,
}

_TOLD = ("objects", "map", "boxes", "score")


@EVIDENCE.register("file")
@dataclass(frozen=True)
class FileEvidence(ObjectLister, RelevanceMap, Detector, TextScorer):
    """Reads what is to be told from a JSONL file, one line an image or an image and a text.

    A line names its image by ``image``, a path next to the file, or by ``digest``, the sha256 of
    its pixels as ``lvlmsal.pictures.digest_of(lvlmsal.adapters.open_image(path))`` gives it. An
    image may have several lines. What a line tells::

        {"image": "1.jpg", "objects": [["dog", 0.98], ["ball", 0.9]]}
        {"image": "1.jpg", "text": "Is there a dog?", "map": [[0.1, 0.9], [0, 0.2]],
         "similarity": 0.4}
        {"image": "1.jpg", "word": "dog", "boxes": [[0.1, 0.2, 0.5, 0.9, 0.98]]}
        {"image": "1.jpg", "text": "There is a dog", "score": 0.31}

    Objects are words with scores, or words alone; a map has rows of any number over the whole
    image, and without a ``text`` it is for all texts. Boxes are left, top, right and bottom in
    shares of the image, and a score if there is one; ``[]`` says that there is no such thing. Words
    are the same in capitals. Of several lines the last one counts. What no line tells is an error
    that shows the line to add.

    Args:
        path: of the file.
    """

    path: str

    summary: ClassVar[str] = "results of any model, from a JSONL file of your own"

    @property
    def version(self) -> str:
        """See :func:`version_of`."""
        return version_of(self._file)

    def objects(self, image: Image.Image) -> list[tuple[str, float]]:
        """See the base class."""
        mine = [line for line in self._of(image) if "objects" in line]
        if not mine:
            raise self._missing(image, '"objects": [["dog", 0.98]]')
        found = mine[-1]["objects"]
        pairs = [(each, 1.0) if isinstance(each, str) else (each[0], each[1]) for each in found]
        return [(str(word), float(score)) for word, score in pairs]

    def relevance(self, image: Image.Image, text: str) -> Relevance:
        """See the base class."""
        mine = [x for x in self._of(image) if "map" in x and x.get("text", text) == text]
        if not mine:
            shown = f'"text": {json.dumps(text)}, "map": [[0.1, 0.9], [0, 0.2]], "similarity": 0.4'
            raise self._missing(image, shown)
        rows = mine[-1]["map"]
        return Relevance(np.asarray(rows, dtype=np.float32), float(mine[-1]["similarity"]))

    def boxes(self, image: Image.Image, word: str) -> list[Box]:
        """See the base class."""
        asked = word.lower()
        mine = [x for x in self._of(image) if "boxes" in x and x["word"].lower() == asked]
        if not mine:
            shown = f'"word": {json.dumps(word)}, "boxes": [[0.1, 0.2, 0.5, 0.9]]'
            raise self._missing(image, shown)
        return sorted((Box(*box) for box in mine[-1]["boxes"]), key=lambda box: -box.score)

    def scores(self, image: Image.Image, texts: Sequence[str]) -> list[float]:
        """See the base class."""
        known = {x["text"]: float(x["score"]) for x in self._of(image) if "score" in x}
        for text in texts:
            if text not in known:
                raise self._missing(image, f'"text": {json.dumps(text)}, "score": 0.3')
        return [known[text] for text in texts]

    def _of(self, image: Image.Image) -> list[dict[str, Any]]:
        """The lines about an image; a file that has changed is read again."""
        try:
            state = self._file.stat()
        except OSError as error:
            raise _unread(self._file, error) from error
        lines = _read(self._file, (state.st_mtime_ns, state.st_size))
        return lines.get(digest_of(image), [])

    def _missing(self, image: Image.Image, shown: str) -> LvlmsalError:
        return DataError(
            f"nothing is told of an image of {image.width} x {image.height} pixels that a method "
            f'asks about: add the line {{"digest": "{digest_of(image)}", {shown}}}',
            path=self._file,
        )

    @property
    def _file(self) -> Path:
        return Path(self.path).expanduser()


def version_of(path: Path) -> str:
    """A file's sha256, in short.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return file_digest(path)[:16]
    except OSError as error:
        raise _unread(path, error) from error


@lru_cache(maxsize=8)
def _read(path: Path, state: tuple[int, int]) -> dict[str, list[dict[str, Any]]]:
    """Lines by the digest of their image.

    Args:
        path: of the file.
        state: when it was last written, and its size: others are another file.

    Raises:
        DataError: the file cannot be read, or a line has another form.
    """
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise _unread(path, error) from error
    found: dict[str, list[dict[str, Any]]] = {}
    digests: dict[str, str] = {}
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as error:
            raise DataError("this is not JSON", path=path, line=number) from error
        if problem := misfit(line, _LINE) or _problem(line):
            raise DataError(problem, path=path, line=number)
        name = line.get("image")
        if name is not None and name not in digests:
            digests[name] = digest_of(open_image(path.parent / name))
        found.setdefault(line.get("digest") or digests[name], []).append(line)
    return found


def _unread(path: Path, error: Exception) -> LvlmsalError:
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"the evidence cannot be read: {reason}", path=path)


def _problem(line: Mapping[str, Any]) -> str:
    """What is wrong with a line whose entries are of the right kind; empty if nothing."""
    if ("image" in line) == ("digest" in line):
        return 'expected either "image" or "digest"'
    if not set(_TOLD) & line.keys():
        return f"it tells nothing: expected one of {', '.join(_TOLD)}"
    if "map" in line and ("similarity" not in line or not line["map"] or not line["map"][0]):
        return 'expected a "map" of at least one number, and its "similarity", from -1 to 1'
    if "map" in line and len({len(row) for row in line["map"]}) > 1:
        return 'rows of the "map" differ in length'
    if "boxes" in line and "word" not in line:
        return 'expected the "word" of which it tells "boxes"'
    if "score" in line and "text" not in line:
        return 'expected the "text" of which it tells a "score"'
    for box in line.get("boxes", ()):
        if not (len(box) in (4, 5) and 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            return (
                'an entry of "boxes" must be [left, top, right, bottom], each from 0 to 1, and a '
                f"score if there is one, got {box!r}"
            )
    for entry in line.get("objects", ()):
        known = isinstance(entry, str) or (
            isinstance(entry, list)
            and len(entry) == 2
            and not misfit({"word": entry[0], "score": entry[1]}, {"word": str, "score": _NUMBER})
        )
        if not known:
            return f'an entry of "objects" must be a word or ["word", score], got {entry!r}'
    return ""
