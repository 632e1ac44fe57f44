"""The question file of HallusionBench, and result files in the same layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlmsal.readers.rows import Row, read_json_rows


@dataclass(frozen=True)
class HallusionQuestion:
    """One question of HallusionBench.

    Attributes:
        category: ``VD`` (the image is needed) or ``VS`` (the image adds to what is known).
        subcategory: illusion, math, ocr, figure, video, chart, map or table.
        set_id: Which set of related figures.
        figure_id: Which figure of the set; of VS, figure 0 is the question without an image.
        question_id: Which question; the same question is asked of several figures.
        visual_input: 0 no image, 1 the original image, 2 an edited one.
        question: What is asked.
        answer: 1 yes, 0 no.
        details: The reference answer in a sentence, for the judge.
        image: File name, relative to the folder of images; None without an image.
        row: The line of the file, with whatever else it holds.
    """

    category: str
    subcategory: str
    set_id: str
    figure_id: str
    question_id: str
    visual_input: int
    question: str
    answer: int
    details: str
    image: str | None
    row: Row

    @property
    def key(self) -> tuple[str, ...]:
        """What distinguishes questions."""
        return (self.category, self.subcategory, self.set_id, self.figure_id, self.question_id)

    @property
    def id(self) -> str:
        """The key as one text, such as ``VD_illusion_0_1_2``."""
        return "_".join(self.key)

    @property
    def group(self) -> str:
        """The set, within which both figures and question pairs lie, such as ``VD_illusion_0``."""
        return "_".join(self.key[:3])

    @property
    def target(self) -> dict[str, Any]:
        """What the metric needs to know, as a JSON value."""
        return {
            "category": self.category,
            "subcategory": self.subcategory,
            "set_id": self.set_id,
            "figure_id": self.figure_id,
            "question_id": self.question_id,
            "visual_input": self.visual_input,
            "question": self.question,
            "gt_answer": self.answer,
            "gt_answer_details": self.details,
        }


def read_hallusionbench(path: Path | str) -> list[HallusionQuestion]:
    """Read ``HallusionBench.json`` or a result file, which is the same with more keys.

    The release writes every value as a string and ``filename: null`` where there is no image;
    numbers are taken for the same values.

    Args:
        path: JSON array or JSON lines.

    Returns:
        The questions in the order of the file.

    Raises:
        DataError: A key is missing or holds something else, or a question occurs twice.
    """
    questions: list[HallusionQuestion] = []
    lines: dict[tuple[str, ...], int] = {}
    for row in read_json_rows(path):
        name = row.data.get("filename")
        visual = _number(row, "visual_input", (0, 1, 2))
        question = HallusionQuestion(
            category=_choice(row, "category", ("VD", "VS")),
            subcategory=row.text("subcategory"),
            set_id=str(row.identifier("set_id")),
            figure_id=str(row.identifier("figure_id")),
            question_id=str(row.identifier("question_id")),
            visual_input=visual,
            question=row.text("question"),
            answer=_number(row, "gt_answer", (0, 1)),
            details=row.text("gt_answer_details"),
            image=None if name is None else row.text("filename"),
            row=row,
        )
        if (visual == 0) != (question.image is None):
            raise row.error(
                f"'visual_input' is {visual} and 'filename' is {name!r}: a question without an "
                "image has 0 and null, any other has neither"
            )
        if question.key in lines:
            raise row.error(
                f"the question {question.id} was already asked in line {lines[question.key]}; "
                "category, subcategory, set, figure and question together must be unique"
            )
        lines[question.key] = row.line
        questions.append(question)
    return questions


def _choice(row: Row, key: str, known: tuple[str, ...]) -> str:
    value = row.text(key)
    if value not in known:
        raise row.error(f"'{key}' must be {' or '.join(known)}, got {value!r}")
    return value


def _number(row: Row, key: str, known: tuple[int, ...]) -> int:
    value = row.identifier(key)
    if not isinstance(value, int) or value not in known:
        raise row.error(f"'{key}' must be one of {', '.join(map(str, known))}, got {value!r}")
    return value
