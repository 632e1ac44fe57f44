"""The files of MM-Vet: questions, answers and grades, each one JSON object by question id."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlmsal.errors import DataError
from lvlmsal.readers.rows import listed, read_text, reason


@dataclass(frozen=True)
class MmVetQuestion:
    """One question.

    Attributes:
        question_id: Such as ``v1_0``.
        image: File name of the image.
        text: The question.
        answer: The reference answer, with ``<AND>`` and ``<OR>``.
        capabilities: What it calls for: rec, ocr, know, gen, spat, math.
    """

    question_id: str
    image: str
    text: str
    answer: str
    capabilities: tuple[str, ...]

    @property
    def target(self) -> dict[str, Any]:
        """What the metric needs of it."""
        return {
            "question": self.text,
            "answer": self.answer,
            "capability": list(self.capabilities),
        }


def read_mm_vet(path: Path | str) -> list[MmVetQuestion]:
    """Read ``mm-vet.json``.

    Args:
        path: A JSON object: id -> ``imagename``, ``question``, ``answer``, ``capability`` (a list;
            a text with commas, as on the hub, is taken too).

    Returns:
        The questions in the order of the file.

    Raises:
        DataError: The file is not such an object, or an entry lacks a key.
    """
    return [_question(path, key, entry) for key, entry in _entries(path).items()]


def read_mm_vet_answers(path: Path | str, questions: list[MmVetQuestion]) -> list[str]:
    """The answer to each question, from a JSON object: id -> text.

    Raises:
        DataError: The file is not such an object, or an id is missing, unknown or there twice.
    """
    entries = _matched(path, questions)
    for key, text in entries.items():
        if not isinstance(text, str):
            raise DataError(f"the answer to {key!r} must be a string, got {text!r}", path=path)
    return [entries[question.question_id] for question in questions]


def read_mm_vet_grades(
    path: Path | str, questions: list[MmVetQuestion]
) -> list[list[tuple[float, str | None]]]:
    """The grades of each answer, from the file that the official script writes.

    Args:
        path: A JSON object: id -> ``score`` (one number from 0 to 1 for each run of the judge) and,
            where there, ``content`` (what the grade was read off).
        questions: The questions.

    Returns:
        For each question the grades of all runs, each with its ``content`` or None.

    Raises:
        DataError: The file is not such an object, an id is missing, unknown or there twice, a grade
            is out of range, or the numbers of runs differ.
    """
    entries = _matched(path, questions)
    found = [_grades(path, q.question_id, entries[q.question_id]) for q in questions]
    numbers = {len(grades) for grades in found}
    if len(numbers) > 1:
        raise DataError(
            f"the answers have different numbers of runs ({sorted(numbers)}): finish "
            "the grading first",
            path=path,
        )
    return found


def _grades(path: Path | str, key: str, entry: Any) -> list[tuple[float, str | None]]:
    scores = entry.get("score") if isinstance(entry, dict) else None
    if not isinstance(scores, list) or not scores:
        raise DataError(f"{key!r}: 'score' must be a list of grades, got {scores!r}", path=path)
    contents = entry.get("content", [None] * len(scores))
    if not isinstance(contents, list) or len(contents) != len(scores):
        raise DataError(f"{key!r}: 'content' and 'score' must be lists of one length", path=path)
    for score in scores:
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise DataError(f"{key!r}: a grade must be from 0 to 1, got {score!r}", path=path)
    return [(float(score), text) for score, text in zip(scores, contents, strict=True)]


def _question(path: Path | str, key: str, entry: Any) -> MmVetQuestion:
    names = ("imagename", "question", "answer")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(n), str) for n in names):
        raise DataError(
            f"{key!r}: expected 'imagename', 'question' and 'answer' as strings, got "
            f"{json.dumps(entry)[:80]}",
            path=path,
        )
    needed = entry.get("capability")
    if isinstance(needed, str):
        needed = [name.strip() for name in needed.split(",")]
    if not isinstance(needed, list) or not needed or not all(isinstance(n, str) for n in needed):
        raise DataError(f"{key!r}: 'capability' must be a list of names, got {needed!r}", path=path)
    return MmVetQuestion(key, entry["imagename"], entry["question"], entry["answer"], tuple(needed))


def _matched(path: Path | str, questions: list[MmVetQuestion]) -> dict[str, Any]:
    entries = _entries(path)
    known = {question.question_id for question in questions}
    for kind, ids in (
        ("unknown", [key for key in entries if key not in known]),
        ("missing", [q.question_id for q in questions if q.question_id not in entries]),
    ):
        if ids:
            raise DataError(
                f"{len(ids)} of {len(known)} question ids are {kind}: {listed(ids)}", path=path
            )
    return entries


def _entries(path: Path | str) -> dict[str, Any]:
    """A JSON object; an id that stands in it twice is an error, where JSON would take the last."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise DataError(f"there twice: {listed(map(repr, twice))}", path=path)
        return found

    try:
        content = json.loads(read_text(path), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON ({reason(error)})", path=path) from None
    if not isinstance(content, dict) or not content:
        raise DataError("expected a JSON object with an entry for each question id", path=path)
    return content
