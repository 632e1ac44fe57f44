"""The files of LLaVA-Bench (in the wild): questions, contexts, reference answers, reviews."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lvlmsal.benchmarks.answers.texts import answer_texts
from lvlmsal.errors import DataError
from lvlmsal.readers.rows import Identifier, Row, listed, read_json_rows

CATEGORIES = ("conv", "detail", "complex")
REVIEW_PREFIX = "llava_bench_"

K = TypeVar("K", Identifier, str)


@dataclass(frozen=True)
class LlavaBenchQuestion:
    """One question with what the judge is shown besides the answer.

    Attributes:
        question_id: Unique.
        image: File name of the image.
        category: conv, detail or complex.
        text: The question.
        context: Description of the image; several sentences stand on lines of their own.
        reference: The reference answer.
        line: Line of the question file, counted from 1.
    """

    question_id: Identifier
    image: str
    category: str
    text: str
    context: str
    reference: str
    line: int

    @property
    def target(self) -> dict[str, str]:
        """What the metric needs of it."""
        return {
            "question": self.text,
            "context": self.context,
            "reference": self.reference,
            "category": self.category,
        }


@dataclass(frozen=True)
class Review:
    """One line of an official review file.

    Attributes:
        question_id: Of the question.
        category: conv, detail or complex.
        text: What the judge said; where the line has no ``content``, its two scores.
        stored: The scores that the line holds, if it holds any.
        line: Line of the file, counted from 1.
    """

    question_id: Identifier
    category: str
    text: str
    stored: tuple[float, float] | None
    line: int


def read_llava_bench(
    questions: Path | str, context: Path | str, reference: Path | str
) -> list[LlavaBenchQuestion]:
    """Read the questions with their contexts and reference answers.

    Contexts are matched by image and reference answers by question id, not by the order of the
    lines as in the official script.

    Args:
        questions: ``questions.jsonl``: ``question_id``, ``image``, ``category``, ``text``.
        context: ``context.jsonl``: ``image`` and ``caption``, a text or a list of texts.
        reference: ``answers_gpt4.jsonl``: ``question_id`` and ``text``.

    Returns:
        The questions in the order of their file.

    Raises:
        DataError: A line is broken, an id occurs twice, or a context or reference is missing.
    """
    captions = _once(read_json_rows(context), lambda row: row.text("image"), "image")
    asked = _by_id(read_json_rows(questions))
    answers = read_texts(reference, {key: row.text("text") for key, row in asked.items()})
    found = []
    for question_id, row in asked.items():
        image = row.text("image")
        if image not in captions:
            raise row.error(f"the image {image!r} has no context in {context}")
        if question_id not in answers:
            raise row.error(f"question_id {question_id!r} has no reference answer in {reference}")
        found.append(
            LlavaBenchQuestion(
                question_id=question_id,
                image=image,
                category=_category(row, ""),
                text=row.text("text"),
                context=_caption(captions[image]),
                reference=answers[question_id],
                line=row.line,
            )
        )
    return found


def read_texts(path: Path | str, questions: Mapping[Identifier, str]) -> dict[Identifier, str]:
    """Answers by question id, from LLaVA's answer files (``question_id``, ``text``).

    Args:
        path: The file, see `lvlmsal.benchmarks.answers.texts.answer_texts`.
        questions: What is asked, by id.

    Raises:
        DataError: A line is broken or an id occurs twice.
    """
    rows = _by_id(read_json_rows(path))
    texts = answer_texts(list(rows.values()), [questions.get(key, "") for key in rows])
    return dict(zip(rows, texts, strict=True))


def read_reviews(path: Path | str, known: Collection[Identifier] | None = None) -> list[Review]:
    """Read an official review file.

    Args:
        path: JSON lines with ``question_id``, ``category`` (``llava_bench_conv`` ...), ``content``
            and ``tuple``, the two scores that were read off it.
        known: The ids of the questions, each of which must be there once; None where the file
            stands alone.

    Raises:
        DataError: A line is broken, or an id is missing, unknown or there twice.
    """
    rows = _by_id(read_json_rows(path))
    if known is not None:
        if strange := [key for key in rows if key not in known]:
            raise rows[strange[0]].error(
                f"{len(strange)} reviews have an unknown question_id: {listed(strange)}"
            )
        if missing := [key for key in known if key not in rows]:
            raise DataError(
                f"{len(missing)} of {len(known)} questions have no review: {listed(missing)}",
                path=path,
            )
    return [_review(key, row) for key, row in rows.items()]


def _review(key: Identifier, row: Row) -> Review:
    stored = row.data.get("tuple")
    scores = None
    if stored is not None:
        numbers = isinstance(stored, list) and [
            float(score)
            for score in stored
            if isinstance(score, int | float) and not isinstance(score, bool)
        ]
        if not numbers or len(numbers) != 2 or len(stored) != 2:
            raise row.error(f"'tuple' must hold two numbers, got {stored!r}")
        scores = (numbers[0], numbers[1])
    if "content" not in row.data and scores is None:
        raise row.error("there is no review: expected 'content' or 'tuple'")
    text = row.text("content") if "content" in row.data else "{} {}".format(*scores or ())
    return Review(key, _category(row, REVIEW_PREFIX), text, scores, row.line)


def _category(row: Row, prefix: str) -> str:
    category = row.text("category").removeprefix(prefix)
    if category not in CATEGORIES:
        wanted = ", ".join(prefix + name for name in CATEGORIES)
        raise row.error(f"'category' must be one of {wanted}, got {row.data['category']!r}")
    return category


def _caption(row: Row) -> str:
    """The official script joins a text, too, and so puts every letter on a line of its own."""
    caption = row.data.get("caption")
    if isinstance(caption, str):
        return caption
    if isinstance(caption, list) and all(isinstance(part, str) for part in caption):
        return "\n".join(caption)
    raise row.error(f"'caption' must be a text or a list of texts, got {caption!r}")


def _by_id(rows: list[Row]) -> dict[Identifier, Row]:
    return _once(rows, lambda row: row.identifier("question_id"), "question_id")


def _once(rows: list[Row], key_of: Callable[[Row], K], name: str) -> dict[K, Row]:
    """Rows by a key that must not occur twice."""
    found: dict[K, Row] = {}
    for row in rows:
        other = found.setdefault(key_of(row), row)
        if other is not row:
            raise row.error(f"{name} {key_of(row)!r} was already used in line {other.line}")
    return found
