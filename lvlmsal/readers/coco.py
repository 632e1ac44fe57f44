"""Object and caption annotations in the layout of COCO."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvlmsal.errors import DataError
from lvlmsal.readers.rows import Identifier, normal_id, read_json_object, short


@dataclass(frozen=True)
class CocoTruth:
    """What COCO-style annotations say of each image.

    Attributes:
        instances: Names of the annotated object categories by image id; an image without
            objects has an empty set.
        captions: Reference captions by image id.
        files: File name by image id, for the images that an ``images`` list names.
        sources: Names of the files that were read.
    """

    instances: dict[int, set[str]] = field(default_factory=dict)
    captions: dict[int, list[str]] = field(default_factory=dict)
    files: dict[int, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


def read_coco_objects(annotations_dir: Path | str) -> CocoTruth:
    """Read object and caption annotations in the layout of COCO.

    A folder holds either ``instances.json`` and ``captions.json``, or any number of
    ``instances_*.json`` and ``captions_*.json`` (``instances_train2014.json`` ...), which are
    merged. Area and ``iscrowd`` are ignored, as in CHAIR.

    Args:
        annotations_dir: The folder.

    Returns:
        Objects, captions and file names by image id.

    Raises:
        DataError: The folder or one of the two kinds of file is missing, a file is not valid JSON,
            or an annotation is incomplete or names an unknown category.
    """
    folder = Path(annotations_dir)
    if not folder.is_dir():
        raise DataError("there is no such folder; expected COCO annotations", path=folder)
    truth = CocoTruth(sources=tuple(p.name for k in _KINDS for p in _annotation_files(folder, k)))
    for path in _annotation_files(folder, "instances"):
        _read_instances(path, truth)
    for path in _annotation_files(folder, "captions"):
        _read_captions(path, truth)
    return truth


def read_coco_captions(path: Path | str) -> CocoTruth:
    """Read one file of reference captions in the layout of COCO.

    Args:
        path: For instance ``captions_val2014.json``.

    Returns:
        Captions and file names by image id; there are no instances.

    Raises:
        DataError: The file is missing or not valid JSON, or an annotation is incomplete.
    """
    path = Path(path)
    truth = CocoTruth(sources=(path.name,))
    _read_captions(path, truth)
    return truth


_KINDS = ("instances", "captions")


def _annotation_files(folder: Path, kind: str) -> list[Path]:
    """The plain file if there is one, otherwise all parts in the order of their names."""
    plain = folder / f"{kind}.json"
    parts = sorted(folder.glob(f"{kind}_*.json"))
    if plain.is_file() and parts:
        raise DataError(
            f"holds both {plain.name} and {parts[0].name}; it is unclear which to read, "
            "so keep one layout in the folder",
            path=folder,
        )
    if not plain.is_file() and not parts:
        raise DataError(
            f"holds neither {kind}.json nor {kind}_*.json (COCO 2014 needs the files of train "
            "and val)",
            path=folder,
        )
    return parts or [plain]


def _read_instances(path: Path, truth: CocoTruth) -> None:
    content = read_json_object(path, "a JSON object with COCO annotations")
    names: dict[object, str] = {}
    for entry in _entries(path, content, "categories"):
        name = _field(path, "categories", entry, "name")
        if not isinstance(name, str):
            raise DataError(f"the name of a category must be a string, got {name!r}", path=path)
        names[_id(path, _field(path, "categories", entry, "id"), "category")] = name
    for image in _read_images(path, content, truth):
        truth.instances.setdefault(image, set())
    for entry in _entries(path, content, "annotations"):
        category = _id(path, _field(path, "annotations", entry, "category_id"), "category")
        if category not in names:
            raise DataError(
                f"an annotation has category_id {category!r}, which is not among the "
                f"{len(names)} categories of the file: {short(json.dumps(entry))}",
                path=path,
            )
        truth.instances.setdefault(_image_id(path, entry), set()).add(names[category])


def _read_captions(path: Path, truth: CocoTruth) -> None:
    content = read_json_object(path, "a JSON object with COCO annotations")
    _read_images(path, content, truth)
    for entry in _entries(path, content, "annotations"):
        caption = _field(path, "annotations", entry, "caption")
        if not isinstance(caption, str):
            raise DataError(f"a caption must be a string, got {caption!r}", path=path)
        truth.captions.setdefault(_image_id(path, entry), []).append(caption)


def _read_images(path: Path, content: dict[str, Any], truth: CocoTruth) -> list[int]:
    """Note the file names of the ``images`` list, if there is one, and return its ids."""
    if "images" not in content:
        return []
    images = []
    for entry in _entries(path, content, "images"):
        image = _whole(path, _field(path, "images", entry, "id"))
        images.append(image)
        if "file_name" in entry:
            name = entry["file_name"]
            if not isinstance(name, str):
                raise DataError(f"'file_name' must be a string, got {name!r}", path=path)
            truth.files[image] = name
    return images


def _entries(path: Path, content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = content.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"expected a list of objects under '{key}'", path=path)
    return entries


def _field(path: Path, part: str, entry: dict[str, Any], key: str) -> Any:
    if key not in entry:
        raise DataError(
            f"an entry of '{part}' lacks '{key}': {short(json.dumps(entry))}", path=path
        )
    return entry[key]


def _image_id(path: Path, entry: dict[str, Any]) -> int:
    return _whole(path, _field(path, "annotations", entry, "image_id"))


def _whole(path: Path, value: object) -> int:
    """An image id of COCO, which is always a number."""
    image = _id(path, value, "image")
    if isinstance(image, str):
        raise DataError(f"image id: expected a whole number, got {image!r}", path=path)
    return image


def _id(path: Path, value: object, what: str) -> Identifier:
    try:
        return normal_id(value)
    except ValueError as error:
        raise DataError(f"{what} id: {error}", path=path) from None
