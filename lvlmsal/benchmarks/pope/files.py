"""POPE question files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lvlmsal.benchmarks.answers.texts import words_of
from lvlmsal.errors import DataError
from lvlmsal.readers.rows import Identifier, Row, read_json_rows


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
        """What distinguishes questions: ids start again in each category."""
        return (self.category, self.question_id)


def read_pope_questions(path: Path | str, labels: Path | str | None = None) -> list[PopeQuestion]:
    """Read a POPE question file.

    Lines hold ``question_id``, ``image``, ``text`` and ``label``; the files for COCO are JSON
    lines, some of those for A-OKVQA and GQA a JSON array, all of them with the suffix ``.json``.
    Lines of the hub's export hold ``question_id``, ``image_source`` (a name without ``.jpg``),
    ``question``, ``answer`` and ``category`` instead.

    Args:
        path: The question file.
        labels: Folder of POPE's own files, where the question file has none: LLaVA's merged
            ``llava_pope_test.jsonl``. The label is that of the same question on the same image in
            the file of the line's category.

    Returns:
        The questions in the order of the file.

    Raises:
        DataError: A line is not valid JSON, lacks a key, has a label other than yes or no, or
            repeats an id; or a question has no label in the folder.
    """
    questions: list[PopeQuestion] = []
    lines: dict[tuple[str, Identifier], int] = {}
    known: dict[str, dict[tuple[str, str], PopeQuestion]] = {}
    for row in read_json_rows(path):
        if labels is not None and "label" not in row.data:
            category = row.text("category")
            if category not in known:
                known[category] = _category(Path(labels), category)
            question = _labeled(row, known[category])
        else:
            question = _question(row)
        if question.key in lines:
            raise row.error(
                f"question_id {question.question_id!r} was already used in line "
                f"{lines[question.key]}; ids must be unique"
            )
        lines[question.key] = row.line
        questions.append(question)
    return questions


def _question(row: Row) -> PopeQuestion:
    is_export = "image_source" in row.data
    keys = ("question", "answer", "image_source") if is_export else ("text", "label", "image")
    text, key, image = keys
    if not is_export and "label" not in row.data and "category" in row.data:
        raise row.error(
            "the key 'label' is missing. LLaVA's merged file has no labels: use POPE's own files, "
            "or, to score answers, give their folder as well (--labels)"
        )
    label = row.text(key).strip().lower()
    if label not in ("yes", "no"):
        raise row.error(f"'{key}' must be 'yes' or 'no', got {row.data[key]!r}")
    file = row.text(image)
    return PopeQuestion(
        question_id=row.identifier("question_id"),
        image=f"{file}.jpg" if is_export and not Path(file).suffix else file,
        text=row.text(text),
        label=label,
        category=row.text("category") if "category" in row.data else "",
        line=row.line,
    )


def _category(folder: Path, category: str) -> dict[tuple[str, str], PopeQuestion]:
    """The questions of POPE's own file for a category, by image and words."""
    paths = sorted(folder.glob(f"*_pope_{category}.json"))
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise DataError(
            f"expected one file *_pope_{category}.json with labels, found {names}", path=folder
        )
    return {(q.image, words_of(q.text)): q for q in read_pope_questions(paths[0])}


def _labeled(row: Row, known: Mapping[tuple[str, str], PopeQuestion]) -> PopeQuestion:
    """A question of a merged file, with the label that it has in POPE's own file."""
    image = row.text("image")
    # the merged file appends a line with an instruction to each question
    question = known.get((image, words_of(row.text("text").strip().split("\n")[0])))
    if question is None:
        raise row.error(
            f"the question {row.data['text']!r} on {image!r} is not in the file of its category "
            f"{row.data['category']!r}"
        )
    return replace(
        question,
        question_id=row.identifier("question_id"),
        category=row.text("category"),
        line=row.line,
    )
