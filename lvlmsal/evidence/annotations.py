"""The objects that an image is annotated with: the truth, for a method's best case."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from lvlmsal.adapters.images import open_image
from lvlmsal.errors import DataError
from lvlmsal.evidence.base import Box, Detector, ObjectLister
from lvlmsal.evidence.file import version_of
from lvlmsal.pictures import digest_of
from lvlmsal.readers.shapes import misfit
from lvlmsal.registry import EVIDENCE

_SHAPE = {
    "images": [{"id": int, "file_name": str, "width": int, "height": int}],
    "annotations": [{"image_id": int, "category_id": int, "bbox": [(int, float)]}],
    "categories": [{"id": int, "name": str}],
}


@EVIDENCE.register("annotations")
@dataclass(frozen=True)
class Annotations(ObjectLister, Detector):
    """The objects that an image is annotated with and their boxes, as COCO's instances have them.

    It is no model and cannot be wrong, so a method that asks it shows what the method could do at
    best: with MARINE, the paper's comparison with the true objects. Words are the names of
    categories, those with the largest box first, all with a score of 1. Boxes are known of these
    names alone: another word is an error.

    The image is known by its pixels: images of its size are opened until it is found.

    Args:
        path: of the JSON file with ``images``, ``annotations`` and ``categories``.
        images: folder of the images.
    """

    path: str
    images: str

    summary: ClassVar[str] = "the objects that images are annotated with, as COCO has them"

    @property
    def version(self) -> str:
        """See :func:`~lvlmsal.evidence.file.version_of`."""
        return version_of(Path(self.path).expanduser())

    def objects(self, image: Image.Image) -> list[tuple[str, float]]:
        """See the base class.

        Raises:
            DataError: the file cannot be read, or the image is none of its images.
        """
        truth = _truth(Path(self.path).expanduser(), Path(self.images).expanduser())
        return [(word, 1.0) for word in truth.words(image)]

    def boxes(self, image: Image.Image, word: str) -> list[Box]:
        """See the base class.

        Raises:
            DataError: as of :meth:`objects`, or there is no category of this name.
        """
        truth = _truth(Path(self.path).expanduser(), Path(self.images).expanduser())
        return truth.boxes(image, word)


class _Truth:
    """What a file says, and which images were opened already.

    Args:
        path: of the file.
        folder: of the images.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(f"the annotations cannot be read: {reason}", path=path) from error
        if problem := misfit(content, _SHAPE):
            raise DataError(problem, path=path)
        self._path, self._folder = path, folder
        self._content: Mapping[str, Any] = content
        self._names = {entry["id"]: entry["name"] for entry in content["categories"]}
        self._files: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        for entry in content["images"]:
            self._files.setdefault((entry["width"], entry["height"]), []).append(entry)
        self._ids: dict[str, int] = {}

    def words(self, image: Image.Image) -> list[str]:
        """Names of what is annotated, each once."""
        return list(dict.fromkeys(self._names[each["category_id"]] for each in self._of(image)))

    def boxes(self, image: Image.Image, word: str) -> list[Box]:
        """Of what is annotated with a name; the largest first."""
        if word not in self._names.values():
            raise DataError(
                f"a method asks where {word!r} is, and none of the categories has this name "
                f"({', '.join(list(self._names.values())[:5])}, ...): let it ask for names of "
                "objects, as HALC does with ask_for: object",
                path=self._path,
            )
        mine = [a["bbox"] for a in self._of(image) if self._names[a["category_id"]] == word]
        return [
            Box(
                max(0.0, left / image.width),
                max(0.0, top / image.height),
                min(1.0, (left + width) / image.width),
                min(1.0, (top + height) / image.height),
            )
            for left, top, width, height in mine
        ]

    def _of(self, image: Image.Image) -> list[Mapping[str, Any]]:
        """What is annotated in an image; that of the largest box first."""
        number = self._id(image)
        mine = [a for a in self._content["annotations"] if a["image_id"] == number]
        return sorted(mine, key=lambda each: -each["bbox"][2] * each["bbox"][3])

    def _id(self, image: Image.Image) -> int:
        digest = digest_of(image)
        waiting = self._files.get(image.size, [])
        while digest not in self._ids and waiting:
            entry = waiting.pop()
            self._ids[digest_of(open_image(self._folder / entry["file_name"]))] = entry["id"]
        if digest not in self._ids:
            raise DataError(
                f"none of its images in {self._folder} is the one of {image.width} x "
                f"{image.height} pixels that a method asks about: annotations tell of their own "
                "images only",
                path=self._path,
            )
        return self._ids[digest]


@lru_cache(maxsize=2)
def _truth(path: Path, folder: Path) -> _Truth:
    return _Truth(path, folder)
