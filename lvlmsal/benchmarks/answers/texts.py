"""Which key of a line holds the answer: tools put questions and answers under the same names."""

from __future__ import annotations

from collections.abc import Sequence

from lvlmsal.readers.rows import Row, short

_KEYS = ("answer", "ans", "text")


def answer_texts(rows: Sequence[Row], questions: Sequence[str]) -> list[str]:
    """The answer of each line, under ``answer``, ``ans`` (PAI) or ``text`` (LLaVA).

    ``text`` next to another of these keys is the question in some files and the answer once more in
    others. Both are taken; anything else is refused, since it might be the answer itself, with the
    right answer under ``answer``.

    Args:
        rows: One line for each question.
        questions: What was asked, without instructions that a prompt adds.

    Returns:
        The answers, in the order of the lines.

    Raises:
        DataError: A line has no answer, or two that differ, or all answers are their questions:
            then the file is the question file.
    """
    found = [_answer(row, question) for row, question in zip(rows, questions, strict=True)]
    echoes = [
        words_of(said) == words_of(question)
        for question, said in zip(questions, found, strict=True)
    ]
    if echoes and all(echoes):
        raise rows[0].error(
            "every answer of this file repeats its question, as if it were the question file; "
            "expected the answers under 'answer' or 'text'"
        )
    return found


def words_of(text: str) -> str:
    """A text in lower case with single blanks, to compare questions by."""
    return " ".join(text.lower().split())


def _answer(row: Row, question: str) -> str:
    keys = [key for key in _KEYS if key in row.data]
    if not keys:
        there = ", ".join(map(repr, row.data)) or "none"
        raise row.error(f"there is no answer: expected 'answer' or 'text', got the keys {there}")
    said = row.text(keys[0])
    for key in keys[1:]:
        text = row.text(key)
        if text == said or (key == "text" and _is_in(question, text)):
            continue
        raise row.error(
            f"{keys[0]!r} is {short(said)!r} and {key!r} is {short(text)!r}, which is neither the "
            f"same nor the question {short(question)!r}, so either may be the answer: leave only "
            "the model's answer under one of these keys"
        )
    return said


def _is_in(question: str, text: str) -> bool:
    """Whether a text repeats the question, with instructions around it or not."""
    asked = words_of(question)
    return bool(asked) and asked in words_of(text)
