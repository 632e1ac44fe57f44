"""ScienceQA: rules that read a choice, and figures worked out on paper."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.benchmarks.scienceqa.choices import CHOICE_RULES
from lvlmsal.benchmarks.scienceqa.metric import ScienceqaMetric
from lvlmsal.errors import UnknownName
from lvlmsal.testing.metric import check_metric


@pytest.mark.parametrize(
    ("answer", "llava", "lmms", "strict"),
    [
        ("A", 0, 0, 0),
        ("C. a cat", 2, 2, 2),
        ("A.", None, 0, 0),
        ("(A)", None, None, 0),
        ("A) x", None, None, 0),
        ("A: x", None, None, 0),
        ("[B] x", None, None, 1),
        ("**B**", None, None, 1),
        ("**B.** cats", None, None, 1),
        (" A", None, 0, 0),
        ("A\n", None, 0, 0),
        ("A\nBecause it is.", None, None, 0),
        ("a", None, 0, 0),
        ("b)", None, None, 1),
        ("A.x", None, 0, None),
        ("The answer is A", None, None, 0),  # nothing behind it
        ("The answer is A.", 0, None, 0),
        ("The answer is A!", 0, None, 0),
        ("the answer is A.", None, None, 0),
        ("The answer is (B).", None, None, 1),
        ("The correct answer is: **B**, since", None, None, 1),
        ("Answer: C", None, None, 2),
        ("Option B is right", None, None, 1),
        ("The answer is A. The answer is A.", None, None, 0),
        ("The answer is A. No, the answer is B.", 0, None, None),
        ("The answer is A. Or: The answer is B.", None, None, None),
        ("C. No wait. The answer is B.", 2, 2, None),
        # beyond the four choices, and no letter at all
        ("E", None, None, None),
        ("E. x", None, None, None),
        ("The answer is F.", None, None, None),
        ("A cat", None, None, None),
        ("a cat", None, None, None),
        ("The answer is a cat.", None, None, None),
        ("The answer is Arctic.", 0, None, None),  # the dot of its pattern is any letter
        ("Answer is A's", None, None, None),
        ("A-B", None, None, None),
        ("I. think", None, None, None),
        ("Ä. ", None, None, None),
        ("\u0391. Greek", None, None, None),
        ("", None, None, None),
        ("\n", None, None, None),
        ("the answer", None, None, None),
    ],
)
def test_what_is_read_off_an_answer(
    answer: str, llava: int | None, lmms: int | None, strict: int | None
) -> None:
    found = {name: rule.parse(answer, 4) for name, rule in CHOICE_RULES.items()}
    assert found == {"llava": llava, "lmms-eval": lmms, "strict": strict}


@given(st.text(alphabet="AaBZ. (\n'The answer is:)*E", max_size=20), st.integers(2, 5))
def test_rules_name_a_choice_or_none(answer: str, choices: int) -> None:
    for rule in CHOICE_RULES.values():
        assert rule.parse(answer, choices) in {None, *range(choices)}


@given(st.text(alphabet="AEF. aThe answer is.\n", max_size=40))
def test_llava_by_steps(answer: str) -> None:
    """The steps as the specification of the script has them, one after the other."""
    stated = [m[1] for m in re.finditer(r"The answer is ([A-Z])[^\n]", answer)]
    if answer in list("ABCDE"):
        letter = answer
    elif len(answer) >= 3 and answer[0] in "ABCDE" and answer[1] + answer[2] == ". ":
        letter = answer[0]
    else:
        letter = stated[0] if len(stated) == 1 else "FAILED"
    expected = "ABC".index(letter) if letter in list("ABC") else None
    assert CHOICE_RULES["llava"].parse(answer, 3) == expected


def target(
    answer: int, subject: str = "natural", grade: int = 3, hint: bool = False, image: bool = False
) -> dict[str, Any]:
    return {
        "answer": answer,
        "choices": 3,
        "subject": f"{subject} science",
        "grade": grade,
        "hint": hint,
        "image": image,
    }


SAMPLES = [
    ("A", target(0)),
    ("B", target(0, "social", 7, image=True)),
    ("C", target(2, "social", 12, hint=True, image=True)),
    ("A. x", target(0, "language", 6, hint=True)),
    ("hm", target(1, "natural", 1, hint=True)),
    ("D", target(1, "natural", 9)),
]


def test_the_table_worked_out_on_paper() -> None:
    answers, targets = [answer for answer, _ in SAMPLES], [t for _, t in SAMPLES]
    found = {name: v.item() for name, v in ScienceqaMetric().score(answers, targets).items()}
    assert found == pytest.approx(
        {
            "accuracy": 3 / 6,
            "natural": 1 / 3,
            "social": 1 / 2,
            "language": 1,
            "text": 2 / 3,
            "image": 1 / 2,
            "no_context": 1 / 2,
            "grade_1_6": 2 / 3,
            "grade_7_12": 1 / 3,
            "unparsed": 2,
            "n": 6,
        }
    )


def test_a_problem_without_an_answer_is_wrong() -> None:
    metric = ScienceqaMetric()
    rows = metric.rows(["A"], [target(0)]).sum(0) + metric.failed_rows([target(0)]).sum(0)
    found = metric.figures(rows)
    assert (found["accuracy"], found["n"], found["unparsed"]) == (0.5, 2, 0)
    assert math.isnan(found["image"])


def test_wrong_targets_and_options_are_refused() -> None:
    metric = ScienceqaMetric()
    for change in ({"subject": "magic"}, {"answer": 3}, {"grade": "grade3"}, {"grade": 13}):
        wrong = {**target(0), **change}
        with pytest.raises(ValueError, match=r"subject|index|grade"):
            metric.score(["A"], [wrong])
    for none in ("A", {}):
        with pytest.raises(ValueError, match="a target must be an object"):
            metric.score(["A"], [none])
        with pytest.raises(ValueError, match="a target must be an object"):
            metric.failed_rows([none])
    with pytest.raises(UnknownName, match="Did you mean 'llava'"):
        ScienceqaMetric(rule="llama")


def reference(answers: Sequence[str], targets: Sequence[dict[str, Any]]) -> dict[str, float]:
    letters = [answer[:1] if answer[1:2] in ("", ".") else "" for answer in answers]
    right = [letter == "ABC"[t["answer"]] for letter, t in zip(letters, targets, strict=True)]

    def share(chosen: list[bool]) -> float:
        hits = [r for r, c in zip(right, chosen, strict=True) if c]
        return sum(hits) / len(hits) if hits else math.nan

    return {
        "accuracy": sum(right) / len(right),
        "social": share([t["subject"].startswith("so") for t in targets]),
        "no_context": share([not (t["hint"] or t["image"]) for t in targets]),
        "grade_7_12": share([t["grade"] > 6 for t in targets]),
    }


@pytest.mark.parametrize("rule", sorted(CHOICE_RULES))
def test_conformance(rule: str) -> None:
    check_metric(lambda: ScienceqaMetric(rule=rule), SAMPLES, reference, processes=1)
