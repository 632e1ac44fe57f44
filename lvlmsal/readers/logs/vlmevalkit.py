"""Predictions of VLMEvalKit: a table with a row for each question."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.readers.logs.answer import LoggedAnswer
from lvlmsal.readers.rows import Row, read_json_rows, read_text

FAILED = "Failed to obtain answer"
"""How predictions begin that are none."""


def read_vlmevalkit(path: Path) -> list[LoggedAnswer]:
    """The answers of ``MODEL_DATASET.xlsx``, or of .tsv and .json (``PRED_FORMAT``).

    Columns are those of the data set without its images (``index``, ``question``, ``answer``, which
    is the right one, ...), and ``prediction``. ``image_path`` holds paths where the data set does.

    Args:
        path: The file.

    Raises:
        DataError: A column or an answer is missing.
        UnsupportedError: It is a workbook, and openpyxl is not installed.
    """
    found = []
    for place, row in enumerate(_rows(path)):
        if "prediction" not in row.data or "index" not in row.data:
            raise row.error(
                "there is no column 'prediction' or 'index': expected the predictions of "
                f"VLMEvalKit, got the columns {', '.join(map(str, row.data))}"
            )
        said = row.data["prediction"]
        said = "" if said is None else str(said)
        if said.startswith(FAILED):
            raise row.error(
                f"the prediction is {said!r}, which is what VLMEvalKit writes where a model gave "
                "no answer: run it again with --reuse, so that it asks for what is missing"
            )
        question = row.data.get("question")
        found.append(
            LoggedAnswer(row, place, said, str(question or ""), _images(row.data.get("image_path")))
        )
    return found


def _images(value: object) -> tuple[str, ...]:
    """One path, or a list of them, which a table writes as Python would."""
    if not value:
        return ()
    if isinstance(value, list):
        return tuple(map(str, value))
    text = str(value).strip()
    if text.startswith("[") and text.endswith("]"):
        return tuple(part.strip(" '\"") for part in text[1:-1].split(",") if part.strip())
    return (text,)


def _rows(path: Path) -> Iterator[Row]:
    if path.suffix == ".xlsx":
        yield from _workbook(path)
    elif path.suffix == ".tsv":
        csv.field_size_limit(sys.maxsize)  # a cell may hold an image
        lines = csv.DictReader(read_text(path).splitlines(keepends=True), delimiter="\t")
        for entry in lines:
            yield Row(path, lines.line_num, dict(entry))
    elif path.suffix == ".json":
        yield from read_json_rows(path)
    else:
        raise DataError("expected a table of predictions: .xlsx, .tsv or .json", path=path)


def _workbook(path: Path) -> Iterator[Row]:
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise UnsupportedError(
            f"{path}: reading a workbook takes the package openpyxl: pip install openpyxl, or let "
            "VLMEvalKit write PRED_FORMAT=tsv"
        ) from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (OSError, KeyError, ValueError, BadZipFile, InvalidFileException) as error:
        raise DataError(f"is not a workbook that can be read: {error}", path=path) from error
    lines = book.worksheets[0].iter_rows(values_only=True)
    heads: list[Any] = list(next(lines, ()))
    for number, cells in enumerate(lines, start=2):
        if any(cell is not None for cell in cells):
            yield Row(path, number, {str(k): v for k, v in zip(heads, cells, strict=False)})
