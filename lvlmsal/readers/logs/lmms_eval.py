"""Samples of lmms-eval (``--log_samples --output_path``): ``..._samples_TASK.jsonl``."""

from __future__ import annotations

from pathlib import Path

from lvlmsal.readers.logs.answer import LoggedAnswer
from lvlmsal.readers.rows import Row, read_json_rows


def read_lmms_eval(path: Path) -> list[LoggedAnswer]:
    """The answers that lmms-eval has scored.

    A line has ``doc_id`` (the place in the split), ``filtered_resps`` (a text, or a list of one)
    and ``input`` (the prompt); ``input_media`` holds paths of images where documents have them. The
    documents themselves are not written.

    Args:
        path: The file.

    Raises:
        DataError: A key is missing, or a line holds several answers or none.
    """
    return [
        LoggedAnswer(
            row,
            _place(row),
            _answer(row),
            row.text("input") if isinstance(row.data.get("input"), str) else "",
            tuple(map(str, row.data.get("input_media") or ())),
        )
        for row in read_json_rows(path)
    ]


def _place(row: Row) -> int:
    found = row.identifier("doc_id")
    if not isinstance(found, int):
        raise row.error(f"'doc_id' must be a whole number, got {found!r}")
    return found


def _answer(row: Row) -> str:
    if "filtered_resps" not in row.data:
        raise row.error(
            "there is no 'filtered_resps': expected a line of ..._samples_TASK.jsonl, which "
            "lmms-eval writes with --log_samples and --output_path"
        )
    said = row.data["filtered_resps"]
    while isinstance(said, list) and len(said) == 1:
        said = said[0]
    if not isinstance(said, str):
        raise row.error(
            f"'filtered_resps' must hold one answer, got {said!r}: tasks that compare "
            "log-likelihoods, or ask several times (--repeats), are not read"
        )
    return said
