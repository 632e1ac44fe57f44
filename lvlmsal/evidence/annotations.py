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
from lvlmsal.evidence.base import ObjectLister
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
class Annotations(ObjectLister):
    """Lists the objects that an image is annotated with, in the format of COCO's instances.

    It is no model and cannot be wrong, so a method that asks it shows what the method could do at
    best: with MARINE, the paper's comparison with the true objects. Words are the names of
    categories, those with the largest box first, all with a score of 1.

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
        self._files: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        for entry in content["images"]:
            self._files.setdefault((entry["width"], entry["height"]), []).append(entry)
        self._ids: dict[str, int] = {}

    def words(self, image: Image.Image) -> list[str]:
        """Names of what is annotated, each once."""
        number, names = self._id(image), {c["id"]: c["name"] for c in self._content["categories"]}
        mine = [a for a in self._content["annotations"] if a["image_id"] == number]
        mine.sort(key=lambda each: -each["bbox"][2] * each["bbox"][3])
        return list(dict.fromkeys(names[each["category_id"]] for each in mine))

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
