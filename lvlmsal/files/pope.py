"""POPE question files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lvlmsal.files.rows import Identifier, read_json_rows


@dataclass(frozen=True)
class PopeQuestion:
    """One question of a POPE file.

    Attributes:
        question_id: Unique within its category.
        image: File name of the image, as the file gives it.
        text: The question.
        label: ``"yes"`` or ``"no"``.
        category: What the line says under ``category``, else an empty string.
        line: Line of the file, counted from 1.
    """

    question_id: Identifier
    image: str
    text: str
    label: str
    category: str = ""
    line: int = 0

    @property
    def key(self) -> tuple[str, Identifier]:
        """What tells questions apart: ids start again in each category."""
        return (self.category, self.question_id)


def read_pope_questions(path: Path | str) -> list[PopeQuestion]:
    """Read a POPE question file.

    Lines hold ``question_id``, ``image``, ``text`` and ``label``; the files for COCO are JSON
    lines, some of those for A-OKVQA and GQA a JSON array, all of them with the suffix ``.json``.

    Args:
        path: The question file.

    Returns:
        The questions in the order of the file.

    Raises:
        DataError: A line is not valid JSON, lacks a key, has a label other than yes or no, or
            repeats an id.
    """
    questions: list[PopeQuestion] = []
    lines: dict[tuple[str, Identifier], int] = {}
    for row in read_json_rows(path):
        label = row.text("label").strip().lower()
        if label not in ("yes", "no"):
            raise row.error(f"'label' must be 'yes' or 'no', got {row.data['label']!r}")
        question = PopeQuestion(
            question_id=row.identifier("question_id"),
            image=row.text("image"),
            text=row.text("text"),
            label=label,
            category=row.text("category") if "category" in row.data else "",
            line=row.line,
        )
        if question.key in lines:
            raise row.error(
                f"question_id {question.question_id!r} was already used in line "
                f"{lines[question.key]}; ids must be unique"
            )
        lines[question.key] = row.line
        questions.append(question)
    return questions
