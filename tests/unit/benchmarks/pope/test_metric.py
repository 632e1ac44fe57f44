"""POPE's figures, against confusions counted by hand and against each tool's own arithmetic."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.benchmarks.pope.counts import pope_score
from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.metrics.answer_parsers import PARSERS

# Worked out on paper. Labels: four yes, four no.
ANSWERS = ["Yes", "No", "Hm", "yes.", "Yes", "No.", "perhaps", "no"]
LABELS = ["yes", "yes", "yes", "yes", "no", "no", "no", "no"]
BY_HAND = {
    # right: 1st, 4th, 6th, 8th; yes: 1st, 4th, 5th; two of four yes found
    "strict": (4 / 8, 2 / 3, 2 / 4, 3 / 8, 2),
    # everything without No/not/no is yes: all but 2nd, 6th ("No" before the stop) and 8th
    "pope-official": (5 / 8, 3 / 5, 3 / 4, 5 / 8, 0),
    "llava": (5 / 8, 3 / 5, 3 / 4, 5 / 8, 0),
    "opera": (5 / 8, 3 / 5, 3 / 4, 5 / 8, 0),
    # label yes: right if "yes" occurs (1st, 4th); label no: right if "no" occurs (6th, 8th);
    # 5th and 7th are taken for yes
    "vcd": (4 / 8, 2 / 4, 2 / 4, 4 / 8, 2),
    # only "Yes", "No", "Yes", "no" parse; of label yes one hit, one miss, and two left out
    "lmms-eval": (2 / 8, 1 / 2, 1 / 2, 2 / 8, 4),
    "vlmevalkit": (4 / 8, 2 / 3, 2 / 4, 3 / 8, 2),
}


@pytest.mark.parametrize("parser", sorted(PARSERS))
def test_figures_counted_by_hand(parser: str) -> None:
    accuracy, precision, recall, yes_ratio, unparsed = BY_HAND[parser]
    expected = {
        "accuracy": accuracy,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall),
        "yes_ratio": yes_ratio,
        "unparsed": unparsed,
        "n": 8,
    }
    figures = PopeMetric(parser=parser).score(ANSWERS, LABELS)
    found = {name: value.item() for name, value in figures.items()}
    assert found == pytest.approx(expected, abs=1e-12)
    twin = pope_score(ANSWERS, LABELS, parser=parser)
    assert {name: value.item() for name, value in twin.items()} == found


POOL = ["Yes", "No", "no", "yes", "Yes.", "NO", "I know", "There isn't", "", "not yes", "A. No"]
PAIRS = st.lists(
    st.tuples(st.sampled_from(POOL), st.sampled_from(["yes", "no"])), min_size=1, max_size=40
)


def divide(a: float, b: float) -> float:
    return a / b if b else math.nan


def check(parser: str, pairs: list[tuple[str, str]], **expected: float) -> None:
    answers, labels = zip(*pairs, strict=True)
    found = pope_score(answers, labels, parser=parser)
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, abs=1e-12, nan_ok=True), name


@given(PAIRS)
def test_the_arithmetic_of_vcd(pairs: list[tuple[str, str]]) -> None:
    tp = sum(label == "yes" and "yes" in answer.lower() for answer, label in pairs)
    fn = sum(label == "yes" for _, label in pairs) - tp
    tn = sum(label == "no" and "no" in answer.lower() for answer, label in pairs)
    fp = sum(label == "no" for _, label in pairs) - tn
    check(
        "vcd",
        pairs,
        accuracy=(tp + tn) / len(pairs),
        precision=divide(tp, tp + fp),
        recall=divide(tp, tp + fn),
        f1=divide(2 * tp, 2 * tp + fp + fn),
        yes_ratio=(tp + fp) / len(pairs),
    )


@given(PAIRS)
def test_the_arithmetic_of_lmms_eval(pairs: list[tuple[str, str]]) -> None:
    read = [(answer.lower().strip(), label) for answer, label in pairs]
    tp, fp = read.count(("yes", "yes")), read.count(("yes", "no"))
    fn = read.count(("no", "yes"))
    check(
        "lmms-eval",
        pairs,
        accuracy=sum(answer == label for answer, label in read) / len(read),
        precision=divide(tp, tp + fp),
        recall=divide(tp, tp + fn),
        f1=divide(2 * tp, 2 * tp + fp + fn),
        yes_ratio=(tp + fp) / len(read),
        unparsed=sum(answer not in ("yes", "no") for answer, _ in read),
    )


@given(PAIRS, st.sampled_from(["vlmevalkit", "strict"]))
def test_unknown_counts_as_no_but_is_wrong(pairs: list[tuple[str, str]], parser: str) -> None:
    read = [(PARSERS[parser].parse(answer), label) for answer, label in pairs]
    tp = sum(verdict == label == "yes" for verdict, label in read)
    said, there = (sum(pair[side] == "yes" for pair in read) for side in (0, 1))
    check(
        parser,
        pairs,
        accuracy=sum(verdict == label for verdict, label in read) / len(read),
        precision=divide(tp, said),
        recall=divide(tp, there),
        unparsed=sum(verdict is None for verdict, _ in read),
    )


@pytest.mark.parametrize(
    ("answers", "labels", "undefined", "defined"),
    [
        ([], [], {"accuracy", "precision", "recall", "f1", "yes_ratio"}, {"n": 0, "unparsed": 0}),
        # never yes: precision has no denominator, F1 is a true zero
        (["no", "no"], ["yes", "no"], {"precision"}, {"recall": 0, "f1": 0, "accuracy": 0.5}),
        (["yes"], ["no"], {"recall"}, {"precision": 0, "f1": 0}),
        (["no"], ["no"], {"precision", "recall", "f1"}, {"accuracy": 1, "yes_ratio": 0}),
        (["hm"], ["no"], {"precision", "recall", "f1"}, {"accuracy": 0, "unparsed": 1}),
    ],
)
def test_degenerate_input_gives_nan_not_an_error_or_a_made_up_zero(
    answers: list[str], labels: list[str], undefined: set[str], defined: dict[str, float]
) -> None:
    found = {name: value.item() for name, value in pope_score(answers, labels).items()}
    assert {name for name, value in found.items() if math.isnan(value)} == undefined
    assert {name: found[name] for name in defined} == defined


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="2 answers for 1"):
        pope_score(["yes", "no"], ["yes"])
    metric = PopeMetric()
    with pytest.raises(ValueError, match="1 answers for 0"):
        metric.score(["yes"], [])
    with pytest.raises(TypeError, match="one text"):
        metric.score("no", ["no", "no"])
    with pytest.raises(ValueError, match="'yes' or 'no', got 'Yes'"):
        metric.score(["yes"], ["Yes"])


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no option 'parsr'\. Did you mean 'parser'"):
        PopeMetric(parsr="strict")  # type: ignore[call-arg] # the mistake under test
    with pytest.raises(UnknownName, match=r"unknown parser 'stric'\. Did you mean 'strict'"):
        PopeMetric(parser="stric")
