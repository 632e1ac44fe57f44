"""VizWiz VQA: annotations, and the question files of LLaVA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lvlmsal.readers.rows import Identifier, Row, read_json_rows

ANSWER_TYPES: Final = ("yes/no", "number", "other", "unanswerable")
"""The kinds of answers that the annotations distinguish."""


@dataclass(frozen=True)
class VizwizQuestion:
    """One question of VizWiz VQA.

    Attributes:
        image: File name of the image; it is also the only id that the data set has.
        question: The question.
        answers: What people answered, ten texts; empty where the file has none (the test split).
        confidences: How sure each of them was (``yes``, ``maybe``, ``no``), next to `answers`;
            empty where the file does not say.
        answer_type: One of `ANSWER_TYPES`, or an empty string where the file does not say.
        answerable: Whether the image shows the answer; None where the file does not say.
        line: Line of the file, counted from 1.
    """

    image: str
    question: str
    answers: tuple[str, ...] = ()
    confidences: tuple[str, ...] = ()
    answer_type: str = ""
    answerable: bool | None = None
    line: int = 0


@dataclass(frozen=True)
class VizwizPrompt:
    """One line of a question file of LLaVA (``llava_test.jsonl``).

    Attributes:
        question_id: Unique within the file; answers refer to it.
        image: File name of the image.
        text: The whole prompt: the question together with its instructions.
        line: Line of the file, counted from 1.
    """

    question_id: Identifier
    image: str
    text: str
    line: int = 0


def read_vizwiz_questions(path: Path | str) -> list[VizwizQuestion]:
    """Read ``Annotations/{train,val,test}.json`` of VizWiz VQA.

    The file is an array of objects with ``image``, ``question`` and, but for the test split,
    ``answers`` (objects with ``answer`` and ``answer_confidence``), ``answer_type`` and
    ``answerable``.

    Args:
        path: The annotation file.

    Returns:
        The questions in the order of the file.

    Raises:
        DataError: A key is missing or holds something else, an image occurs twice, or only some of
            the questions have answers.
    """
    rows = read_json_rows(path)
    lines: dict[str, int] = {}
    questions = []
    for row in rows:
        if ("answers" in row.data) != ("answers" in rows[0].data):
            raise row.error("some questions of the file have 'answers' and some have none")
        question = _question(row)
        if question.image in lines:
            raise row.error(
                f"the image {question.image!r} was already in line {lines[question.image]}; it is "
                "the id of its question, so it must be unique"
            )
        lines[question.image] = row.line
        questions.append(question)
    return questions


def read_vizwiz_prompts(path: Path | str) -> list[VizwizPrompt]:
    """Read a question file of LLaVA: lines with ``question_id``, ``image`` and ``text``.

    Args:
        path: The question file.

    Returns:
        The prompts in the order of the file.

    Raises:
        DataError: A key is missing, or an id or an image occurs twice.
    """
    seen: dict[tuple[str, Identifier], int] = {}
    prompts = []
    for row in read_json_rows(path):
        prompt = VizwizPrompt(
            row.identifier("question_id"), row.text("image"), row.text("text"), row.line
        )
        keys: list[tuple[str, Identifier]] = [
            ("question_id", prompt.question_id),
            ("image", prompt.image),
        ]
        for key in keys:
            if key in seen:
                raise row.error(
                    f"{key[0]} {key[1]!r} was already used in line {seen[key]}; it must be unique"
                )
            seen[key] = row.line
        prompts.append(prompt)
    return prompts


def _question(row: Row) -> VizwizQuestion:
    image, question = row.text("image"), row.text("question")
    if not image.strip():
        raise row.error("'image' is empty; it must be the file name of the image")
    if "answers" not in row.data:
        return VizwizQuestion(image, question, line=row.line)
    answer_type = row.text("answer_type")
    if answer_type not in ANSWER_TYPES:
        kinds = ", ".join(map(repr, ANSWER_TYPES))
        raise row.error(f"'answer_type' must be one of {kinds}, got {answer_type!r}")
    if row.data.get("answerable") not in (0, 1):
        raise row.error(f"'answerable' must be 0 or 1, got {row.data.get('answerable')!r}")
    entries = row.data["answers"]
    if not isinstance(entries, list) or not entries:
        raise row.error(f"'answers' must be a list with at least one answer, got {entries!r}")
    answers = [Row(row.path, row.line, entry) for entry in entries if isinstance(entry, dict)]
    if len(answers) != len(entries):
        raise row.error("'answers' must hold objects with 'answer' and 'answer_confidence'")
    return VizwizQuestion(
        image=image,
        question=question,
        answers=tuple(answer.text("answer") for answer in answers),
        confidences=tuple(answer.text("answer_confidence") for answer in answers),
        answer_type=answer_type,
        answerable=bool(row.data["answerable"]),
        line=row.line,
    )
