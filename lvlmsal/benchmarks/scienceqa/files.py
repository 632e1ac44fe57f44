"""ScienceQA: problems and splits."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lvlmsal.errors import DataError, close_matches
from lvlmsal.readers.rows import listed, read_json_object

SUBJECTS: Final = ("natural science", "social science", "language science")
"""What problems are about."""
LETTERS: Final = "ABCDE"
"""What choices are called."""
_GRADE: Final = re.compile(r"grade([1-9]|1[0-2])")


@dataclass(frozen=True)
class ScienceqaProblem:
    """One multiple-choice problem of ScienceQA.

    Attributes:
        id: Its key in ``problems.json``.
        question: The question.
        choices: Two to five texts.
        answer: Index of the right choice.
        hint: A text that goes before the question; may be empty.
        image: File name of its image, or an empty string.
        grade: From 1 to 12.
        subject: One of `SUBJECTS`.
        topic: A finer subject, such as ``biology``.
        split: ``train``, ``val`` or ``test``; its image lies in the folder of that name.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int
    hint: str
    image: str
    grade: int
    subject: str
    topic: str
    split: str


def read_scienceqa(
    problems: Path | str, splits: Path | str, split: str = "test"
) -> list[ScienceqaProblem]:
    """Read the problems of a split of ScienceQA.

    Args:
        problems: ``problems.json``, an object of problems by id.
        splits: ``pid_splits.json``, lists of ids by split.
        split: Which split.

    Returns:
        The problems in the order of the split.

    Raises:
        DataError: A file is not such an object, there is no such split or it is empty, or a problem
            is missing, listed twice or broken.
    """
    problems, splits = Path(problems), Path(splits)
    lists = read_json_object(splits)
    if split not in lists:
        hint = close_matches(split, lists)
        raise DataError(
            f"there is no split {split!r}.{hint} The file has {listed(lists)}", path=splits
        )
    ids = lists[split]
    if not isinstance(ids, list) or not all(isinstance(pid, str) for pid in ids):
        raise DataError(f"the split {split!r} must be a list of ids in quotes", path=splits)
    if not ids:
        raise DataError(f"the split {split!r} lists no problems", path=splits)
    if repeated := [pid for pid, times in Counter(ids).items() if times > 1]:
        raise DataError(f"the split {split!r} lists ids twice: {listed(repeated)}", path=splits)
    entries = read_json_object(problems)
    if missing := [pid for pid in ids if pid not in entries]:
        raise DataError(
            f"{len(missing)} of {len(ids)} problems of the split {split!r} are not in the file: "
            f"{listed(missing)}",
            path=problems,
        )
    return [_problem(problems, pid, entries[pid]) for pid in ids]


def _problem(path: Path, pid: str, entry: Any) -> ScienceqaProblem:
    if not isinstance(entry, dict):
        raise DataError(f"problem {pid!r} must be an object, got {entry!r}", path=path)

    def wrong(key: str, expected: str) -> DataError:
        found = repr(entry[key]) if key in entry else "nothing"
        return DataError(f"problem {pid!r}: '{key}' must be {expected}, got {found}", path=path)

    def text(key: str) -> str:
        value = entry.get(key)
        if not isinstance(value, str):
            raise wrong(key, "a string")
        return value

    choices, answer, image = entry.get("choices"), entry.get("answer"), entry.get("image")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise wrong("choices", "a list of strings")
    if not 2 <= len(choices) <= len(LETTERS):
        raise wrong("choices", f"a list of 2 to {len(LETTERS)} strings")
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(choices):
        raise wrong("answer", f"an index from 0 to {len(choices) - 1}")
    if image is not None and not isinstance(image, str):
        raise wrong("image", "a file name or null")
    grade = _GRADE.fullmatch(text("grade"))
    if grade is None:
        raise wrong("grade", "one of 'grade1' to 'grade12'")
    if text("subject") not in SUBJECTS:
        raise wrong("subject", "one of " + ", ".join(map(repr, SUBJECTS)))
    return ScienceqaProblem(
        id=pid,
        question=text("question"),
        choices=tuple(choices),
        answer=answer,
        hint=text("hint"),
        image=image or "",
        grade=int(grade[1]),
        subject=text("subject"),
        topic=text("topic"),
        split=text("split"),
    )
