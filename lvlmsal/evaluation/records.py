"""The records of a run: one JSON line per answer, appended and flushed, readable after a kill."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from lvlmsal.errors import DataError, LvlmsalError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

logger = logging.getLogger(__name__)

Record = dict[str, Any]
"""One line of ``records.jsonl``; `make_record` lists its keys."""

TIMINGS = ("seconds", "batch_size", "forwards", "peak_memory")
"""Keys that may differ between two runs of the same config: what the answer has cost."""


def read_records(path: Path, *, repair: bool = False) -> list[Record]:
    """Read the records of a run.

    Args:
        path: The file; one that is not there holds no records.
        repair: Cut off a last line that a killed run left unfinished. Without it such a line is
            left out and the file stays as it is.

    Returns:
        The records in the order of the file. Where a sample was tried again, its last record.

    Raises:
        DataError: A line other than the last is damaged.
    """
    if not path.is_file():
        return []
    content = path.read_bytes()
    records: dict[str, Record] = {}
    start = 0
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        record = _parse(line)
        if record is None:
            if start + len(line) < len(content):
                raise DataError(
                    "is no record; the file was damaged by something other than a stopped run",
                    path=path,
                    line=number,
                )
            logger.warning("%s:%d: dropped a line that was cut off", path, number)
            if repair:
                with path.open("r+b") as file:
                    file.truncate(start)
        else:
            records.pop(record["key"], None)
            records[record["key"]] = record
        start += len(line)
    return list(records.values())


def _parse(line: bytes) -> Record | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("key"), str) else None


class RecordWriter:
    """Appends records to a file; what `write` returned from survives a kill.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def write(self, records: Iterable[Record]) -> None:
        """Append records and hand them to the disk."""
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8", newline="\n")
        for record in records:
            text = json.dumps(finite(record), ensure_ascii=False, allow_nan=False)
            self._file.write(text + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; a later `write` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def merge_parts(path: Path) -> None:
    """Append the files that other processes wrote (``records.rank1.jsonl`` ...) and delete them.

    Args:
        path: The main file.
    """
    parts = sorted(path.parent.glob(f"{path.stem}.rank*{path.suffix}"))
    if not parts:
        return
    records = {record["key"]: record for record in read_records(path, repair=True)}
    for part in parts:
        records.update({record["key"]: record for record in read_records(part)})
    _rewrite(path, records.values())
    for part in parts:
        part.unlink()


def put_in_order(path: Path, order: Sequence[str]) -> None:
    """Sort the records of a finished run, so that how it went leaves no trace.

    Batches, processes and resumed runs write in orders of their own.

    Args:
        path: The records file.
        order: Keys of the plan's samples; records of other keys go first, as they stand.
    """
    found = {record["key"]: record for record in read_records(path, repair=True)}
    present = [key for key in order if key in found]
    last = set(present)
    wanted = [*(key for key in found if key not in last), *present]
    if wanted != list(found):
        _rewrite(path, [found[key] for key in wanted])


def _rewrite(path: Path, records: Iterable[Record]) -> None:
    """Replace a file by another, so that a kill leaves one or the other."""
    scratch = path.with_name(path.name + ".merging")
    scratch.unlink(missing_ok=True)
    writer = RecordWriter(scratch)
    writer.write(records)
    writer.close()
    scratch.replace(path)


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


class RunLock:
    """Keeps two processes from writing into one run folder; freed when the process ends.

    Args:
        folder: The run folder.

    Raises:
        LvlmsalError: On entering, if another process holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        """Take the lock."""
        file = self._path.open("a+", encoding="utf-8")
        try:
            if sys.platform == "win32":
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise LvlmsalError(
                f"another process is writing to {self._path.parent}: wait for it, stop it, or "
                "choose another folder with output=..."
            ) from None
        self._file = file
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the lock."""
        assert self._file is not None  # __enter__ has set it
        self._file.close()
