"""Rows of JSON objects with their line numbers, and ids in one form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlmsal.errors import DataError

Identifier = int | str
"""An id of a question or an image: an int wherever it looks like one."""


@dataclass(frozen=True)
class Row:
    """One JSON object of a file.

    Attributes:
        path: The file.
        line: Where the object starts, counted from 1.
        data: The object.
    """

    path: Path
    line: int
    data: dict[str, Any]

    def error(self, message: str) -> DataError:
        """An error that points to this row."""
        return DataError(message, path=self.path, line=self.line)

    def text(self, key: str) -> str:
        """The string under `key`.

        Raises:
            DataError: The key is missing or does not hold a string.
        """
        value = self._value(key)
        if not isinstance(value, str):
            raise self.error(f"'{key}' must be a string, got {value!r}")
        return value

    def identifier(self, key: str) -> Identifier:
        """The id under `key`, as `normal_id` returns it.

        Raises:
            DataError: The key is missing or holds neither a whole number nor a string.
        """
        value = self._value(key)
        try:
            return normal_id(value)
        except ValueError as error:
            raise self.error(f"'{key}': {error}") from None

    def _value(self, key: str) -> Any:
        if key not in self.data:
            keys = ", ".join(map(repr, self.data)) or "none"
            raise self.error(f"the key '{key}' is missing; the line has the keys {keys}")
        return self.data[key]


def normal_id(value: object) -> Identifier:
    """An id in the one form in which ids are compared.

    The same id is a number in one file and a string in the next. Compared as they are, the two
    never match; scripts that do so report every object of every caption as a hallucination.

    Args:
        value: A whole number or a string.

    Returns:
        An int for a number and for a string that spells one, otherwise the stripped string.

    Raises:
        ValueError: `value` is of another type, not a whole number, or empty.

    Example:
        >>> normal_id(391895), normal_id("391895"), normal_id(" 000042 "), normal_id("a-7")
        (391895, 391895, 42, 'a-7')
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"an id must be a whole number or a string, got {value!r}")
    if isinstance(value, int):
        return value
    value = value.strip()
    if not value:
        raise ValueError("an id must not be an empty string")
    return int(value) if value.isascii() and value.isdigit() else value


_OTHER_FORMS = {
    b"\x1f\x8b": "is packed with gzip: unpack it first (gunzip)",
    b"PK\x03\x04": "is a zip archive: unpack it first (unzip)",
    b"\xff\xfe": "is UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "is UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)",
}
"""How files begin that are not UTF-8 text, and what to do with them."""


def read_text(path: Path | str) -> str:
    """The text of a UTF-8 file (a byte order mark at its start is dropped).

    Raises:
        DataError: There is no such file, it cannot be read, or it is not UTF-8.
    """
    try:
        content = Path(path).read_bytes()
        for start, what in _OTHER_FORMS.items():
            if content.startswith(start):
                raise DataError(f"{what}, and a UTF-8 text file is expected", path=path)
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise DataError("there is no such file", path=path) from None
    except UnicodeDecodeError as error:
        raise DataError(f"not a UTF-8 text file ({error.reason})", path=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from None


def read_json_rows(path: Path | str) -> list[Row]:
    """Read a file of JSON objects: one object per line, or one array of objects.

    Both layouts are in use under the same suffixes, so the first character decides: ``[`` opens
    an array. Blank lines between objects are skipped.

    Args:
        path: The file.

    Returns:
        The objects in the order of the file, at least one.

    Raises:
        DataError: The file is missing or empty, a line is not JSON (a cut line for instance), or a
            value is not an object.
    """
    path = Path(path)
    text = read_text(path)
    pairs = _array_items(path, text) if text.lstrip().startswith("[") else _lines(path, text)
    rows = []
    for line, value in pairs:
        if not isinstance(value, dict):
            raise DataError(
                f"expected a JSON object, got {short(json.dumps(value))}", path=path, line=line
            )
        rows.append(Row(path, line, value))
    if not rows:
        raise DataError("the file is empty; expected JSON lines or a JSON array", path=path)
    return rows


def read_json_object(path: Path, expected: str = "a JSON object") -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: The file.
        expected: What it must hold, for the message.

    Raises:
        DataError: The file is missing, is not JSON (cut off, for instance), or holds another value.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise DataError(
            f"not valid JSON ({reason(error)}; is the file cut off?)", path=path, line=line
        ) from None
    if not isinstance(content, dict):
        raise DataError(f"expected {expected}", path=path)
    return content


def _lines(path: Path, text: str) -> Iterator[tuple[int, object]]:
    """Line number and value of every line that is not blank."""
    # split("\n"), not splitlines(): JSON strings may hold U+2028 and other marks that are no
    # line ends in JSON lines
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"not valid JSON ({reason(error)}; is the line cut off?): {short(line)}",
                path=path,
                line=number,
            ) from None


def _array_items(path: Path, text: str) -> Iterator[tuple[int, object]]:
    """Line number and value of every item of an array.

    The array is walked item by item, because `json.loads` would not tell where an item stands.
    """
    decoder = json.JSONDecoder()
    start = text.index("[") + 1
    line, counted, first = 1, 0, True
    while True:
        start = _skip_blanks(text, start)
        line, counted = line + text.count("\n", counted, start), start
        if first and text[start : start + 1] == "]":
            break
        first = False
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"not valid JSON ({reason(error)}; is the file cut off?)", path=path, line=line
            ) from None
        yield line, value
        start = _skip_blanks(text, end)
        separator = text[start : start + 1]
        if separator == "]":
            break
        if separator == ",":
            start += 1
        else:
            raise DataError(
                f"not valid JSON (expected ',' or ']', got {separator or 'the end of the file'!r})",
                path=path,
                line=text.count("\n", 0, start) + 1,
            )
    if text[start + 1 :].strip():
        number = text.count("\n", 0, start) + 1
        raise DataError("there is text after the JSON array", path=path, line=number)


def _skip_blanks(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def short(text: str, length: int = 80) -> str:
    """`text`, cut to a length that fits into a message."""
    return text if len(text) <= length else text[: length - 3] + "..."


def listed(items: Iterable[object], shown: int = 5) -> str:
    """The first few of many, for a message.

    Example:
        >>> listed(range(8))
        '0, 1, 2, 3, 4 and 3 more'
    """
    texts = [str(item) for item in items]
    more = len(texts) - shown
    return ", ".join(texts[:shown]) + (f" and {more} more" if more > 0 else "")


def reason(error: ValueError | RecursionError) -> str:
    """Why a text is not JSON: bad syntax, a number of thousands of digits, or deep nesting."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
