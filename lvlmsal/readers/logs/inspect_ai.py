"""Logs of inspect_ai: ``.eval``, a zip archive of JSON files, or one JSON file."""

from __future__ import annotations

import importlib
import json
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.readers.logs.answer import LoggedAnswer
from lvlmsal.readers.rows import Row, read_json_object

_ATTACHED = re.compile(r"attachment://(\w+)")


def read_inspect_ai(path: Path) -> list[LoggedAnswer]:
    """The answers of a log, one for each sample.

    Samples are numbered by their place in ``eval.dataset.sample_ids``. The answer is the text of
    the first choice; images are those of the last message of the user.

    Args:
        path: The file.

    Raises:
        DataError: It is no such log, a sample has failed or was not answered, or samples were asked
            in several epochs.
    """
    header, samples = _archive(path) if path.suffix == ".eval" else _whole(path)
    dataset = header.get("eval", {}).get("dataset", {})
    ids = dataset.get("sample_ids")
    if not isinstance(ids, list):
        raise DataError(
            "there is no eval.dataset.sample_ids: expected a log of inspect_ai", path=path
        )
    places = {_key(each): place for place, each in enumerate(ids)}
    found: dict[int, LoggedAnswer] = {}
    for row in samples:
        place = places.get(_key(row.data.get("id")))
        if place is None:
            raise row.error(f"the sample {row.data.get('id')!r} is not one of the data set's")
        if place in found:
            raise row.error(
                f"the sample {row.data['id']!r} was asked in several epochs: score a log of one "
                "(--epochs 1)"
            )
        if row.data.get("error"):
            said = row.data["error"]
            told = said.get("message", said) if isinstance(said, Mapping) else said
            raise row.error(f"the sample {row.data['id']!r} has failed: {told}")
        prompt, images = _asked(row)
        known = None if dataset.get("shuffled") else place
        found[place] = LoggedAnswer(row, known, _answer(row), prompt, images)
    return [found[place] for place in sorted(found)]


def _key(value: object) -> str:
    return str(value)


def _teach_zstandard() -> None:
    """Newer logs are packed with it; the package teaches it to `zipfile` where it is installed."""
    with suppress(ImportError):
        importlib.import_module("zipfile_zstd")


def _archive(path: Path) -> tuple[Mapping[str, Any], list[Row]]:
    _teach_zstandard()
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "header.json" not in names:
                raise DataError(
                    "there is no header.json in it: the run that wrote the log has not ended",
                    path=path,
                )
            header = json.loads(archive.read("header.json"))
            samples = [
                Row(path, number, json.loads(archive.read(name)))
                for number, name in enumerate(names, start=1)
                if name.startswith("samples/") and name.endswith(".json")
            ]
    except FileNotFoundError:
        raise DataError("there is no such file", path=path) from None
    except NotImplementedError as error:
        raise UnsupportedError(
            f"{path}: is packed with Zstandard, which Python itself does not unpack: pip install "
            f"zipfile-zstd, or write it as JSON, inspect log convert --to json {path} --output-dir "
            "FOLDER"
        ) from error
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise DataError(f"is not a log that can be read: {error}", path=path) from error
    return header, samples


def _whole(path: Path) -> tuple[Mapping[str, Any], list[Row]]:
    content = read_json_object(path, "a log of inspect_ai")
    samples = content.get("samples") or []
    return content, [Row(path, number, each) for number, each in enumerate(samples, start=1)]


def _answer(row: Row) -> str:
    choices = row.data.get("output", {}).get("choices") or []
    if not choices:
        raise row.error(f"the sample {row.data.get('id')!r} was not answered")
    return _text(row, choices[0].get("message", {}).get("content", ""))


def _asked(row: Row) -> tuple[str, tuple[str, ...]]:
    """The last message of the user: its text and its images."""
    given = row.data.get("input", "")
    if isinstance(given, str):
        return _whole_text(row, given), ()
    content = next((m.get("content", "") for m in reversed(given) if m.get("role") == "user"), "")
    parts = content if isinstance(content, list) else []
    images = [_whole_text(row, part["image"]) for part in parts if part.get("type") == "image"]
    return _text(row, content), tuple(images)


def _text(row: Row, content: Any) -> str:
    """The text of a message, whose content is a text or a list of parts."""
    if isinstance(content, str):
        return _whole_text(row, content)
    texts = [part.get("text", "") for part in content if part.get("type") == "text"]
    return _whole_text(row, "\n".join(texts))


def _whole_text(row: Row, text: str) -> str:
    """A text with its long parts, which a log keeps elsewhere."""
    attached = row.data.get("attachments") or {}
    return _ATTACHED.sub(lambda found: str(attached.get(found[1], found[0])), text)
