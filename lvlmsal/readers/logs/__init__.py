"""Answers in the logs of other tools: lmms-eval, VLMEvalKit and inspect_ai."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from lvlmsal.errors import DataError
from lvlmsal.readers.logs.answer import LoggedAnswer
from lvlmsal.readers.logs.inspect_ai import read_inspect_ai
from lvlmsal.readers.logs.lmms_eval import read_lmms_eval
from lvlmsal.readers.logs.vlmevalkit import read_vlmevalkit

__all__ = ["READERS", "LoggedAnswer", "read_log"]

READERS: Final[dict[str, Callable[[Path], list[LoggedAnswer]]]] = {
    "lmms-eval": read_lmms_eval,
    "vlmevalkit": read_vlmevalkit,
    "inspect_ai": read_inspect_ai,
}
"""Tool -> what reads the answers that it has logged."""

_BY_SUFFIX: Final = {
    ".jsonl": "lmms-eval",
    ".eval": "inspect_ai",
    ".xlsx": "vlmevalkit",
    ".tsv": "vlmevalkit",
}


def read_log(path: Path, tool: str | None = None) -> list[LoggedAnswer]:
    """The answers of a log, in its order.

    Args:
        path: ``..._samples_TASK.jsonl`` of lmms-eval, the table of predictions of VLMEvalKit (xlsx
            or tsv, or json with `tool`), or ``.eval`` of inspect_ai (or json with `tool`).
        tool: A key of `READERS`; by default the suffix says it.

    Raises:
        DataError: The file is no such log, or an answer is missing in it.
        UnsupportedError: A package is missing that reads it.
    """
    name = tool or _BY_SUFFIX.get(path.suffix)
    if name is None:
        raise DataError(
            f"is a log of which tool? Say it with --tool {', '.join(READERS)}; files that end in "
            f"{', '.join(_BY_SUFFIX)} need no --tool",
            path=path,
        )
    found = READERS[name](path)
    if not found:
        raise DataError("holds no answers", path=path)
    return found
