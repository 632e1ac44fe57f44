"""Data sets of the hub, written as the files that the official releases have.

Only ``lvlmsal data export`` comes here: a run reads files. The package `datasets` loads, from its
cache where the data set is in it; who owns a copy on the hub changes, so the name is always given.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from lvlmsal.errors import DataError, UnknownName, UnsupportedError

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp"}


@dataclass(frozen=True)
class HubRow:
    """One row of a data set.

    Attributes:
        number: From 0.
        data: Its columns; images as bytes with a path, as `datasets` stores them, or as pictures.
    """

    number: int
    data: Mapping[str, Any]

    def error(self, message: str) -> DataError:
        """An error that points to this row."""
        return DataError(f"row {self.number} of the data set: {message}")

    def value(self, *names: str) -> Any:
        """The first of some columns that there is.

        Raises:
            DataError: There is none of them.
        """
        for name in names:
            if name in self.data:
                return self.data[name]
        raise self.error(f"there is no column {' or '.join(names)}; it has {', '.join(self.data)}")

    def text(self, *names: str) -> str:
        """The text of the first of some columns; a number becomes its digits.

        Raises:
            DataError: There is no such column, or it holds something else.
        """
        value = self.value(*names)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.error(f"{' or '.join(names)} must be a text, got {value!r}")
        return str(value)

    def optional(self, name: str) -> str:
        """The text of a column, or nothing where it is missing or empty."""
        return "" if self.data.get(name) is None else self.text(name)

    def image(self) -> HubImage | None:
        """The image, or None where the row has none.

        Raises:
            DataError: The column holds no image.
        """
        value = self.data.get("image")
        if value is None:
            return None
        if isinstance(value, Image.Image):
            buffer = io.BytesIO()
            value.save(buffer, format="PNG")
            return HubImage(buffer.getvalue(), "")
        if isinstance(value, Mapping):
            content, path = value.get("bytes"), str(value.get("path") or "")
            if content is None and path:
                content = Path(path).read_bytes()
            if isinstance(content, bytes):
                return HubImage(content, PurePosixPath(path).name)
        raise self.error(f"the column image holds {type(value).__name__}, not an image")


@dataclass(frozen=True)
class HubImage:
    """An encoded image.

    Attributes:
        content: The file.
        name: What the file was called, or an empty string.
    """

    content: bytes
    name: str

    def suffix(self) -> str:
        """The suffix of its format, such as ``.jpg``."""
        with Image.open(io.BytesIO(self.content)) as image:
            return _SUFFIXES.get(image.format or "", ".png")


@dataclass
class Folder:
    """A folder that is being filled.

    Attributes:
        path: The folder.
        samples: How many samples were written.
        images: SHA-256 of each image by name.
    """

    path: Path
    samples: int = 0
    images: dict[str, str] = field(default_factory=dict)

    def image(self, row: HubRow, name: str, image: HubImage | None = None) -> str:
        """Write the image of a row, once; returns its name.

        Raises:
            DataError: The row has no image, the name leaves the folder, or another image has it.
        """
        image = row.image() if image is None else image
        if image is None:
            raise row.error("has no image")
        # what other systems read as a drive or a folder is no part of a name
        if not name or {"\\", ":"} & set(name) or ".." in PurePosixPath(name).parts:
            raise row.error(f"the image name {name!r} must be a path below the folder")
        name = PurePosixPath(name).as_posix()
        if name not in self.images:
            self._write(name, image.content)
            self.images[name] = hashlib.sha256(image.content).hexdigest()
        elif self.images[name] != hashlib.sha256(image.content).hexdigest():
            raise row.error(f"another image is called {name!r} too")
        return name

    def json(self, name: str, content: Any) -> None:
        """Write a JSON file."""
        self._write(name, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())

    def json_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a file of JSON lines."""
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self._write(name, "".join(lines).encode())

    def text(self, name: str, text: str) -> None:
        """Write a text file."""
        self._write(name, text.encode())

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


Layout = Callable[[Iterator[HubRow], Folder, str], None]
"""Writes rows into a folder; the text is the split that was asked for."""


def export(
    rows: Iterable[Mapping[str, Any]],
    layout: Layout,
    root: str | os.PathLike[str],
    *,
    split: str,
    source: Mapping[str, Any],
) -> Folder:
    """Write a data set in the layout of the official release, whole or not at all.

    Args:
        rows: The rows.
        layout: What to make of them, see `lvlmsal.data.layouts`.
        root: The folder to make; it must not exist yet, or be empty.
        split: Which split the rows are.
        source: Where they come from, for the note ``hub.json``.

    Raises:
        DataError: The folder is not empty, or a row is not what the layout needs.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError("is not empty; name a new folder for the export", path=root)
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        folder = Folder(scratch)
        layout((HubRow(k, row) for k, row in enumerate(rows)), folder, split)
        if not folder.samples:
            raise DataError(f"the split {split!r} of the data set has no rows")
        folder.json("hub.json", dict(source))
        scratch.chmod(0o755)
        scratch.replace(root)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return folder


def load_rows(dataset: str, split: str, config: str | None, revision: str | None) -> Any:
    """Rows of a data set: from a folder of `datasets`, its cache, or the hub.

    Images stay as they are stored, so that no picture is encoded a second time.

    Args:
        dataset: ``owner/name``, or a folder that ``save_to_disk`` has written.
        split: A split, or several joined by ``+``.
        config: Configuration of the data set, where it has several.
        revision: Commit of the hub repository.

    Raises:
        UnsupportedError: `datasets` is not installed.
        DataError: The data set or the split cannot be loaded.
    """
    try:
        import datasets
    except ImportError as error:
        raise UnsupportedError(
            "exporting from the hub needs the package datasets: pip install 'lvlmsal[hub]'"
        ) from error
    try:
        if Path(dataset).is_dir() and any(Path(dataset).glob("*.json")):
            stored = datasets.load_from_disk(dataset)
            found = stored
            if isinstance(stored, datasets.DatasetDict):
                names = split.split("+")
                if unknown := [name for name in names if name not in stored]:
                    raise UnknownName("split", unknown[0], list(map(str, stored)))
                found = datasets.concatenate_datasets([stored[name] for name in names])
        else:
            found = datasets.load_dataset(dataset, config, split=split, revision=revision)
    # the package raises errors of all kinds for what is not there: files, names, connections
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, UnknownName):
            raise
        raise DataError(
            f"{dataset} (config {config}, split {split}) cannot be loaded: {error}\n"
            "A machine without a network takes it from the cache of another (HF_HOME, "
            "HF_HUB_OFFLINE=1), or from a folder that save_to_disk wrote"
        ) from error
    for name, feature in found.features.items():
        if isinstance(feature, datasets.Image):
            found = found.cast_column(name, datasets.Image(decode=False))
    return found
