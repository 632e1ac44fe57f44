"""The records of a run: one JSON line per answer, readable after a kill."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from lvlmsal.errors import DataError
from lvlmsal.readers.shapes import misfit, shape_of

logger = logging.getLogger(__name__)


class Record(TypedDict):
    """One line of ``records.jsonl``; docs/results.md says what each key means.

    Keys that came later are missing in records of earlier versions.
    """

    key: str
    model: str
    method: str
    benchmark: str
    sample_id: str
    group: str
    images: list[str]
    prompt: str
    answer: str | None
    target: Any
    status: Literal["ok", "failed"]
    error: str
    new_tokens: int
    token_ids: NotRequired[list[int]]
    tokens: NotRequired[list[dict[str, Any]]]
    seconds: float
    batch_size: NotRequired[int]
    forwards: NotRequired[int | None]
    peak_memory: NotRequired[int | None]
    seed: NotRequired[int]


TIMINGS = ("seconds", "batch_size", "forwards", "peak_memory")
"""Keys that may differ between two runs of the same config: what the answer has cost."""


_SHAPE = shape_of(Record)


class Line(NamedTuple):
    """A record and where it stands.

    Attributes:
        path: The file.
        number: The line, from 1.
        record: The record.
    """

    path: Path
    number: int
    record: Record


def read_lines(path: Path, *, repair: bool = False) -> dict[str, Line]:
    """The records of a file by key, with their places; see `read_records`."""
    if not path.is_file():
        return {}
    content = path.read_bytes()
    lines: dict[str, Line] = {}
    start = 0
    for number, text in enumerate(content.splitlines(keepends=True), start=1):
        if not text.endswith(b"\n"):
            logger.warning("%s:%d: dropped a line that was cut off", path, number)
            if repair:
                with path.open("r+b") as file:
                    file.truncate(start)
            break
        line = Line(path, number, _parsed(text, path, number))
        key = line.record["key"]
        lines[key] = _that_counts(lines.pop(key, None), line)
        start += len(text)
    return lines


def read_records(path: Path, *, repair: bool = False) -> list[Record]:
    """Read the records of a run.

    Args:
        path: The file; one that is not there holds no records.
        repair: Cut off a last line that a killed run left unfinished. Without it such a line is
            left out and the file stays as it is.

    Returns:
        The records in the order of the file. Where a sample that had failed was tried again, its
        last record.

    Raises:
        DataError: A line is damaged, or there are two answers to one sample.
    """
    return [line.record for line in read_lines(path, repair=repair).values()]


def _parsed(text: bytes, path: Path, number: int) -> Record:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        problem = "it cannot be read"
    else:
        problem = misfit(record, _SHAPE)
        if not problem and record["status"] == "ok" and record["answer"] is None:
            problem = "it has the status ok and no answer"
    if problem:
        raise DataError(
            f"is not a record: {problem}. The file was damaged by something other than a stopped "
            "run: put it back as it was, or choose another folder with output=...",
            path=path,
            line=number,
        )
    found: Record = record
    return found


def _that_counts(first: Line | None, second: Line) -> Line:
    """Which of two records of a sample counts: an answer, or the later failure.

    Raises:
        DataError: The records hold two answers. The same answer twice is what a kill may leave
            while the files of several processes are put together.
    """
    if first is None or first.record["status"] != "ok":
        return second
    if second.record["status"] != "ok":
        if first.path != second.path:
            return first
    elif _answer(first.record) == _answer(second.record):
        return second
    where = f"line {first.number}" + (f" of {first.path}" if first.path != second.path else "")
    raise DataError(
        f"holds another record of {second.record['key']!r} than {where}, which has answered it: a "
        "run answers a sample once, so the file was edited, or put together from several runs. "
        "Take out the line that does not belong, or choose another folder with output=...",
        path=second.path,
        line=second.number,
    )


def _answer(record: Record) -> dict[str, object]:
    return {key: value for key, value in record.items() if key not in TIMINGS}


def text_of(record: Record) -> str:
    """The answer of a record whose status is ok."""
    text = record["answer"]
    assert text is not None  # a line without it is refused where it is read
    return text


def part_files(path: Path) -> list[Path]:
    """The files that other processes than the first have written next to the main one.

    Args:
        path: The main file.
    """
    return sorted(path.parent.glob(f"{path.stem}.rank*{path.suffix}"))


def all_lines(path: Path) -> dict[str, Line]:
    """The records of a run by key, those included that other processes have written.

    Which file is the newer one cannot be told, but an answer is never asked for again: where one
    file holds a failure and another one an answer, the answer is what counts.

    Args:
        path: The main file.

    Raises:
        DataError: A line is damaged, or there are two answers to one sample.
    """
    # parts first: whoever merges them replaces the main file before it deletes them
    parts = [line for part in part_files(path) for line in read_lines(part).values()]
    lines = read_lines(path)
    for line in parts:
        key = line.record["key"]
        lines[key] = _that_counts(lines.get(key), line)
    return lines


def all_records(path: Path) -> dict[str, Record]:
    """The same without their places."""
    return {key: line.record for key, line in all_lines(path).items()}


def finite(value: Any) -> Any:
    """The value with every NaN and infinity replaced by null, which JSON can hold.

    Example:
        >>> finite({"a": [1.5, float("nan")]})
        {'a': [1.5, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value
