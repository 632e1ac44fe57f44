"""Rows of the hub's data sets, and the folder that a benchmark's `layout` writes them into.

The columns are those of the copies that lmms-eval reads, whoever owns them. What a data set does
not say is not made up: problems and images without a name are called after their rows.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from lvlmsal.errors import DataError

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp"}


_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def with_suffix(name: str, suffix: str) -> str:
    """An image's name with the suffix that it lacks; as it is where it has one of an image."""
    return name if PurePosixPath(name).suffix.lower() in _IMAGE_SUFFIXES else name + suffix


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

    def needed_image(self) -> HubImage:
        """The image.

        Raises:
            DataError: The row has none, or the column holds no image.
        """
        image = self.image()
        if image is None:
            raise self.error("has no image")
        return image


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
        image = row.needed_image() if image is None else image
        # what other systems read as a drive or a folder is not part of a name
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
