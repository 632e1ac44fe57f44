"""Writing the records of a run: appended and flushed, so that what is there survives a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from lvlmsal.errors import LvlmsalError
from lvlmsal.evaluation.results.locks import lock
from lvlmsal.evaluation.results.records import Record, all_records, finite, part_files, read_records


class RecordWriter:
    """Appends records to a file; what `write` returned from survives a kill.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def write(self, records: Iterable[Record]) -> None:
        """Append records and hand them to the disk, all of them or none.

        Raises:
            LvlmsalError: They cannot be written: the disk is full, the file was deleted or may not
                be written, or another process writes to it.
        """
        texts = (json.dumps(finite(r), ensure_ascii=False, allow_nan=False) for r in records)
        # half of a surrogate pair in an id or a question becomes an escape, as JSON has it
        content = "".join(text + "\n" for text in texts).encode("utf-8", "backslashreplace")
        try:
            if self._file is None:
                self._file = self._opened()
            self._append(self._file, content)
        except OSError as error:
            raise LvlmsalError(
                f"{self._path} cannot be written: {error.strerror}\nWhat was answered before is "
                "kept: fix this, then rerun the same command to resume"
            ) from error

    def _opened(self) -> IO[bytes]:
        """The file, locked, without what a killed process has left of a line."""
        file = self._path.open("ab", buffering=0)
        try:
            lock(file, self._path)
            read_records(self._path, repair=True)
        except BaseException:
            file.close()
            raise
        return file

    def _append(self, file: IO[bytes], content: bytes) -> None:
        """Append to the file; whatever happens meanwhile, no part of the content stays."""
        found = os.fstat(file.fileno())
        try:
            same = os.path.samestat(found, self._path.stat())
        except FileNotFoundError:
            same = False
        if not same:
            raise LvlmsalError(
                f"{self._path} was deleted or replaced while the run was writing to it: what it "
                "held is lost. Rerun the same command to answer that again"
            )
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except BaseException as error:
            # a full disk, or an interrupt in the middle: the file ends in a whole line again; where
            # that fails too, the next run cuts the line off
            if rest or isinstance(error, OSError):
                with suppress(OSError):
                    file.truncate(found.st_size)
            raise

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
    parts = part_files(path)
    if not parts:
        return
    _rewrite(path, all_records(path).values())
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
    # more lines than records: a sample that had failed was tried again
    if wanted != list(found) or path.read_bytes().count(b"\n") != len(found):
        _rewrite(path, [found[key] for key in wanted])


def _rewrite(path: Path, records: Iterable[Record]) -> None:
    """Replace a file by another, so that a kill leaves one or the other."""
    scratch = path.with_name(path.name + ".merging")
    scratch.unlink(missing_ok=True)
    writer = RecordWriter(scratch)
    try:
        writer.write(records)
        writer.close()
        scratch.replace(path)
    except BaseException:
        writer.close()
        scratch.unlink(missing_ok=True)
        raise
