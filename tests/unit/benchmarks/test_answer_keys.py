"""Which key holds the answer, where tools use one name for two things."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.answers.texts import answer_texts
from lvlmsal.benchmarks.scorer import rules_named
from lvlmsal.errors import DataError, UnknownName
from lvlmsal.readers.rows import Row
from tests.unit.benchmarks.test_pope_chair_scorers import ANSWERS, asked, lines, questions, score

__all__ = ["asked"]

QUESTION = "Is there a dog in the image?"


def read(*data: dict[str, Any], question: str = QUESTION) -> list[str]:
    rows = [Row(Path("a.jsonl"), number, entry) for number, entry in enumerate(data, start=1)]
    return answer_texts(rows, [question] * len(rows))


@pytest.mark.parametrize(
    "line",
    [
        {"answer": "Yes."},
        {"text": "Yes."},
        {"ans": "Yes."},
        # the answer twice, whatever else the line repeats
        {"question": QUESTION, "answer": "Yes.", "text": "Yes."},
        {"ans": "Yes.", "text": "Yes."},
        # text is the question, with an instruction and other blanks
        {
            "answer": "Yes.",
            "text": "is there  a dog in the image?\nAnswer in one word.",
        },
        {"ans": "Yes.", "text": QUESTION},
    ],
)
def test_the_answer_is_found(line: dict[str, Any]) -> None:
    assert read(line) == ["Yes."]


@pytest.mark.parametrize(
    "line",
    [
        # the right answer, it may be, and the model's: which is which?
        {"question": QUESTION, "answer": "yes", "text": "No, there is none."},
        {"answer": "yes", "ans": "no"},
        {"answer": "yes", "text": "Is there a cat in the image?"},
    ],
)
def test_two_answers_are_refused(line: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:1: 'answer' is 'yes' and .*leave only"):
        read(line)


def test_a_question_file_is_no_answer_file() -> None:
    rows = [{"text": QUESTION}, {"text": QUESTION.upper()}]
    with pytest.raises(DataError, match=r"a\.jsonl:1: every answer .* repeats its question"):
        read(*rows)
    # one answer may
    assert read(*rows, {"text": "Yes."})[2] == "Yes."
    with pytest.raises(DataError, match=r"there is no answer: .* keys 'label'"):
        read({"label": "yes"})


def test_pope_lines_that_hold_the_answer_twice(asked: Path) -> None:
    rows = [
        {"question_id": q["question_id"], "question": q["text"], "answer": said, "text": said}
        for q, said in zip(questions(), ANSWERS, strict=True)
    ]
    assert score(asked, rows)["accuracy"] == 2 / 4
    for row in rows:
        del row["question_id"]
    assert score(asked, rows)["accuracy"] == 2 / 4
    # without the question nothing says what was asked
    for row in rows:
        del row["question"]
    with pytest.raises(DataError, match="nothing tells which question this answers"):
        score(asked, rows)
    asked.with_name("a.jsonl").write_text(lines(questions()))
    with pytest.raises(DataError, match="question file"):
        score(asked, questions())


def test_rules_by_name() -> None:
    known = ["opera", "strict", "vcd"]
    assert rules_named("parser", "", known) == []
    assert rules_named("parser", " all ", known) == known
    assert rules_named("parser", "vcd, opera,vcd", known) == ["vcd", "opera"]
    assert rules_named("parser", "strict,all", known) == known
    for given, hint in (("strct", "'strict'"), ("al", "'all'"), ("vcd,", "Known: all, opera")):
        with pytest.raises(UnknownName, match=hint):
            rules_named("parser", given, known)
