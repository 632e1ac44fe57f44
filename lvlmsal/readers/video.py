"""Questions on videos: ActivityNet-QA, MSVD-QA, MSRVTT-QA and Video-ChatGPT's own benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvlmsal.readers.rows import Identifier, Row, listed, read_json_rows

VIDEO_KEYS = ("video_name", "video", "video_id")
"""Where releases name the video."""
ID_KEYS = ("question_id", "id")
"""Where releases have the id of a question."""


@dataclass(frozen=True)
class VideoQuestion:
    """One question on a video.

    Attributes:
        id: Unique within its file.
        video: The video, without suffix.
        question: What is asked.
        answer: The reference answer; empty until it is read from a file of its own.
        second: The same thing asked in another way; empty where there is none.
        row: The line of the file.
    """

    id: str
    video: str
    question: str
    answer: str
    second: str
    row: Row


def read_video_questions(
    questions: Path | str, answers: Path | str | None = None, *, number_prefix: str = ""
) -> list[VideoQuestion]:
    """Read questions on videos, with their answers from the same file or another one.

    ActivityNet-QA has two files (``video_name``, ``question``, ``question_id``; ``answer``,
    ``question_id``). They are matched by id: the scripts in use go by position. MSVD-QA and
    MSRVTT-QA have one file (``answer``, ``question``, ``id``, ``video_id``; keys vary).

    Args:
        questions: The question file: an array or lines.
        answers: The file of answers, where they are in one.
        number_prefix: What stands before a video that is only a number: 7010 becomes ``video7010``.

    Returns:
        The questions in the order of the file. Where the file has no ids, ``VIDEO_0``, ``VIDEO_1``
        and so on, in the order of the file, as Video-ChatGPT's scorer numbers them.

    Raises:
        DataError: A key is missing, an id occurs twice, or questions and answers do not match.
    """
    rows = read_json_rows(questions)
    key = _id_key(rows)
    if answers is not None and key is None:
        raise rows[0].error(
            "the questions have no 'question_id', so answers in another file cannot be matched"
        )
    given = None if answers is None else _answers(answers)
    found: list[VideoQuestion] = []
    numbers: Counter[str] = Counter()
    for row in rows:
        video = _video(row, number_prefix)
        name = f"{video}_{numbers[video]}" if key is None else str(row.identifier(key))
        numbers[video] += 1
        if given is None:
            answer = row.text("answer")
        elif name in given:
            answer = given[name].text("answer")
        else:
            raise row.error(f"question_id {name!r} has no answer in {answers}")
        found.append(VideoQuestion(name, video, row.text("question"), answer, "", row))
    _check_ids(found)
    if given is not None and (strange := sorted(given.keys() - {q.id for q in found})):
        raise given[strange[0]].error(
            f"{len(strange)} answers belong to no question of {questions}: {listed(strange)}"
        )
    return found


def read_benchmark_questions(path: Path | str) -> list[VideoQuestion]:
    """Read a file of Video-ChatGPT's benchmark: ``video_name``, ``Q`` (or ``Q1``, ``Q2``), ``A``.

    Ids are those of its scorer: ``VIDEO_0``, ``VIDEO_1`` and so on, in the order of the file.

    Raises:
        DataError: A key is missing.
    """
    numbers: Counter[str] = Counter()
    found = []
    for row in read_json_rows(path):
        video = _video(row, "")
        name = f"{video}_{numbers[video]}"
        numbers[video] += 1
        paired = "Q1" in row.data or "Q2" in row.data
        first, second = (row.text("Q1"), row.text("Q2")) if paired else (row.text("Q"), "")
        found.append(VideoQuestion(name, video, first, row.text("A"), second, row))
    return found


def _id_key(rows: Sequence[Row]) -> str | None:
    """The key of the ids, which all rows have or none."""
    for key in ID_KEYS:
        has = [key in row.data for row in rows]
        if all(has):
            return key
        if any(has):
            raise rows[has.index(False)].error(f"other lines have a '{key}', this one has not")
    return None


def _video(row: Row, number_prefix: str) -> str:
    key = next((key for key in VIDEO_KEYS if key in row.data), VIDEO_KEYS[0])
    name: Identifier = row.identifier(key)
    if isinstance(name, int):
        # the text of the file where it is text: a video may be called 0042
        given = row.data[key]
        return given if isinstance(given, str) else f"{number_prefix}{name}"
    return name


def _answers(path: Path | str) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in read_json_rows(path):
        name = str(row.identifier("question_id"))
        if name in found:
            raise row.error(f"question_id {name!r} was already answered in line {found[name].line}")
        found[name] = row
    return found


def _check_ids(questions: Sequence[VideoQuestion]) -> None:
    lines: dict[str, int] = {}
    for question in questions:
        if question.id in lines:
            raise question.row.error(
                f"the id {question.id!r} was already used in line {lines[question.id]}"
            )
        lines[question.id] = question.row.line
