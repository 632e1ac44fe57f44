"""Answers to POPE questions made elsewhere, matched with the questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lvlmsal.benchmarks.answers.answer_files import match_rows
from lvlmsal.benchmarks.answers.texts import answer_texts, words_of
from lvlmsal.benchmarks.pope.files import PopeQuestion
from lvlmsal.errors import DataError
from lvlmsal.readers.rows import Identifier, Row, listed, read_json_rows


def read_pope_answers(
    path: Path | str, questions: Sequence[PopeQuestion], warnings: list[str]
) -> list[str]:
    """The answer to each question of a POPE file.

    Two layouts are in use. Lines with a ``question_id`` (LLaVA's: ``{"question_id", "text"}``) are
    matched by it, and by ``category`` where questions and answers have one. Lines without (POPE's
    own: ``{"question", "answer"}``) are matched by order. Where the answer stands, see
    `answer_texts`. Where a line repeats the question (``question``,
    ``prompt``, ``query``), it must be the right one: ids start again in each of POPE's files, so
    answers to another file would match by id. PAI's lines repeat the label, which must agree.

    Args:
        path: The answer file: JSON lines or a JSON array.
        questions: The questions, see `lvlmsal.benchmarks.pope.files.read_pope_questions`.
        warnings: Takes one text if nothing but the order and the labels says what was answered.

    Returns:
        One answer for each question, in the order of the questions.

    Raises:
        DataError: An answer is missing, superfluous, given twice or does not fit its question.
    """
    rows = read_json_rows(path)
    has_id = ["question_id" in row.data for row in rows]
    if len(set(has_id)) > 1:
        raise rows[has_id.index(not has_id[0])].error(
            "some lines have a 'question_id' and some do not; give all lines one"
        )
    matched = _by_id(rows, questions) if has_id[0] else _by_order(rows, questions)
    by_label = 0
    for row, question in zip(matched, questions, strict=True):
        if "ans" in row.data:
            _check_label(row, question)
        named = _check_question(row, question)
        if not (named or has_id[0] or "ans" in row.data):
            raise row.error(
                "there is neither a 'question_id' nor a 'question', so nothing tells which "
                "question this answers"
            )
        by_label += not (named or has_id[0])
    if by_label:
        warnings.append(
            f"{by_label} answers are matched by their order alone, and only their labels could be "
            "compared, which are the same in all three files of POPE: make sure that the "
            "questions are the right ones"
        )
    return answer_texts(matched, [question.text for question in questions])


def _by_id(rows: Sequence[Row], questions: Sequence[PopeQuestion]) -> list[Row]:
    with_category = all("category" in row.data for row in rows) and any(
        question.category for question in questions
    )

    def key_of_row(row: Row) -> tuple[str, Identifier]:
        return (row.text("category") if with_category else "", row.identifier("question_id"))

    def key_of(question: PopeQuestion) -> tuple[str, Identifier]:
        return question.key if with_category else ("", question.question_id)

    wanted: dict[tuple[str, Identifier], PopeQuestion] = {}
    for question in questions:
        other = wanted.setdefault(key_of(question), question)
        if other is not question:
            raise DataError(
                f"the questions in lines {other.line} and {question.line} share the question_id "
                f"{question.question_id!r}; the answers need a 'category' to distinguish them",
                path=rows[0].path,
            )
    found = match_rows(rows, key_of_row, wanted, "question_id")
    missing = [question.question_id for key, question in wanted.items() if key not in found]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(questions)} questions have no answer: question_id "
            f"{listed(missing)}",
            path=rows[0].path,
        )
    return [found[key_of(question)] for question in questions]


def _by_order(rows: Sequence[Row], questions: Sequence[PopeQuestion]) -> list[Row]:
    if len(rows) != len(questions):
        raise DataError(
            f"{len(rows)} answers for {len(questions)} questions; answers without a 'question_id' "
            "are matched by order, so there must be one for each question",
            path=rows[0].path,
        )
    return list(rows)


def _check_label(row: Row, question: PopeQuestion) -> None:
    """Compare the label that a line of PAI's repeats: yes or no, or 1 or 0."""
    label = row.data.get("label")
    given = {"1": "yes", "0": "no"}.get(str(label), str(label).strip().lower())
    if given != question.label:
        raise row.error(
            f"'label' is {label!r}, but that of line {question.line} of the questions is "
            f"{question.label!r}; do the two files belong together?"
        )


def _check_question(row: Row, question: PopeQuestion) -> bool:
    """Compare the question that a line repeats with the one that it was matched with.

    Returns:
        Whether the line repeats a question.
    """
    keys: list[str] = [key for key in ("query", "question", "prompt") if key in row.data]
    for key in keys:
        # prompts add instructions to the question
        if words_of(question.text) not in words_of(row.text(key)):
            raise row.error(
                f"'{key}' is {row.data[key]!r}, but line {question.line} of the questions "
                f"(question_id {question.question_id!r}) asks {question.text!r}; do the two files "
                "belong together?"
            )
    return bool(keys) or _is_repeated_in_text(row, question)


def _is_repeated_in_text(row: Row, question: PopeQuestion) -> bool:
    """Whether ``text`` holds the question, which it can only where the answer stands elsewhere."""
    return (
        "text" in row.data
        and bool({"answer", "ans"} & row.data.keys())
        and words_of(question.text) in words_of(row.text("text"))
    )
