"""VizWiz's figures, against answers counted by hand and a plain re-implementation of the rules."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.benchmarks.vizwiz.metric import VQA_RULES, VizwizMetric
from lvlmsal.benchmarks.vizwiz.text import (
    CONTRACTIONS,
    VIZWIZ_CONTRACTIONS,
    evalai_answer,
    unmarked,
    vqa_answer,
)
from lvlmsal.errors import UnknownName
from lvlmsal.testing.metric import check_metric


def people(*answers: str, kind: str = "other", answerable: int = 1, **more: Any) -> dict[str, Any]:
    """A target; "blue*3" stands for three people who said blue."""
    texts = []
    for entry in answers:
        text, _, times = entry.partition("*")
        texts += [text] * int(times or 1)
    return {"answers": texts, "answer_type": kind, "answerable": answerable, **more}


def accuracy(rule: str, answer: str, target: dict[str, Any]) -> float:
    metric = VizwizMetric(rule=rule)
    return round(metric.score([answer], [target])["accuracy"].item(), 6)


@pytest.mark.parametrize(
    ("agreeing", "worth"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1), (10, 1)]
)
@pytest.mark.parametrize("rule", ["vizwiz-api", "llava", "lmms-eval"])
def test_ten_people_are_left_out_in_turn(rule: str, agreeing: int, worth: float) -> None:
    target = people(f"blue*{agreeing}", *(f"c{n}" for n in range(10 - agreeing)))
    assert accuracy(rule, "blue", target) == worth


@pytest.mark.parametrize(
    ("answer", "typed", "right"),
    [
        # answers of people stay as they were typed in the official scorer
        ("Coke can", "Coke can", {"lmms-eval", "vqa-official"}),
        ("A Coke can.", "coke can", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        ("coca-cola", "coca cola", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        ("coca-cola", "coca-cola", {"lmms-eval", "vqa-official"}),
        ("the two", "2", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        ("none", "none", {"lmms-eval", "vqa-official"}),
        ("none", "0", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        # the official scorer mends a contraction with a mark that nobody types
        ("dont know", "don't know", {"llava", "lmms-eval", "vqa-official"}),
        ("cant tell", "can't tell", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        ("don't know", "don't know", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        # the EvalAI processor parts the genitive
        ("campbell's", "campbell's", {"vizwiz-api", "lmms-eval", "vqa-official"}),
        ("campbell's", "campbell 's", {"llava", "lmms-eval"}),
        ("$1,000", "$1000", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        ("no\tidea\n", "no idea", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        ("12:30", "12:30", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        ("Ünï", "ünï", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        ("", "", {"vizwiz-api", "llava", "lmms-eval", "vqa-official"}),
        ("", "blue", set()),
        ("bluebird", "blue", set()),
    ],
)
def test_which_rule_takes_what_for_the_same(answer: str, typed: str, right: set[str]) -> None:
    # different confidences, or vqa-official would leave equal answers out together
    target = people(
        f"{typed}*9", "something else", confidences=["yes", "no", "maybe", *map(str, range(7))]
    )
    assert {name for name in VQA_RULES if accuracy(name, answer, target) == 1} == right


def test_vqa_official_is_raw_where_people_agree() -> None:
    target = people("yes*10", kind="yes/no", confidences=[str(n) for n in range(10)])
    assert accuracy("vqa-official", "yes", target) == 1
    assert accuracy("vqa-official", "Yes", target) == 0
    assert accuracy("vizwiz-api", "Yes", target) == 1


def test_vqa_official_leaves_equal_entries_out_together() -> None:
    # four said blue, all of them sure: whoever is left out, the three others go as well
    target = people("blue*4", *"abcdef", confidences=["yes"] * 10)
    assert accuracy("vqa-official", "blue", target) == 0.6  # only the six others see four
    assert accuracy("vizwiz-api", "blue", target) == 1
    # all agree and are sure: nobody is left to agree with
    assert accuracy("vqa-official", "blue", people("blue*10", confidences=["yes"] * 10)) == 0
    # without confidences equal answers are equal entries
    assert accuracy("vqa-official", "blue", people("blue*10")) == 0


def test_marks_depend_on_what_stands_elsewhere() -> None:
    assert unmarked("a-b") == "a b"
    assert unmarked("a-b -c") == "ab c"
    assert unmarked("a/b 1,000") == "ab 1000"
    assert unmarked("." * 40) == "." * 8
    assert unmarked("3.5 . x.") == "3.5  x"
    assert vqa_answer("what's $5: it") == "what's $5: it"
    assert evalai_answer("It's Levi's, right?") == "it 's levi 's right"


def test_contractions() -> None:
    assert CONTRACTIONS["couldn'tve"] == CONTRACTIONS["couldnt've"] == "couldn't've"
    assert CONTRACTIONS["'ows'at"] == CONTRACTIONS["ow's'at"] == "'ow's'at"
    assert CONTRACTIONS["somebody'd"] == "somebodyd"
    assert "its" not in CONTRACTIONS
    assert "im" not in CONTRACTIONS
    assert VIZWIZ_CONTRACTIONS["isnt"] == "isn`t"
    assert VIZWIZ_CONTRACTIONS["weve"] == "we've"
    assert {key for key in VIZWIZ_CONTRACTIONS if "'" in key} == {"couldn'tve", "hadn'tve"}
    assert {key for key in CONTRACTIONS if "'" not in key} <= VIZWIZ_CONTRACTIONS.keys()


def average_precision(said: list[bool], truly: list[bool]) -> float:
    """By walking down the ranking; ties are one step."""
    points, area, recall = [], 0.0, 0.0
    for threshold in (True, False):
        chosen = [t for s, t in zip(said, truly, strict=True) if s >= threshold]
        if chosen:
            points.append((sum(chosen) / sum(truly), sum(chosen) / len(chosen)))
    for reached, precision in points:
        area += (reached - recall) * precision
        recall = reached
    return area


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_finding_what_cannot_be_answered(pairs: list[tuple[bool, bool]]) -> None:
    said, truly = [s for s, _ in pairs], [t for _, t in pairs]
    figures = VizwizMetric().score(
        ["Unanswerable." if s else "blue" for s in said],
        [people("blue*10", answerable=int(not t)) for t in truly],
    )
    found = {name: value.item() for name, value in figures.items()}
    hits = sum(s and t for s, t in pairs)
    both = sum(said) + sum(truly)
    assert found["unanswerable_f1"] == pytest.approx(
        2 * hits / both if both else math.nan, nan_ok=True
    )
    expected = average_precision(said, truly) if any(truly) else math.nan
    assert found["unanswerable_ap"] == pytest.approx(expected, nan_ok=True)


def test_kinds_of_answers_and_what_has_none() -> None:
    figures = VizwizMetric().score(
        ["yes", "no", "Unanswerable", "4", "x"],
        [
            people("yes*10", kind="yes/no"),
            people("yes*10", kind="yes/no"),
            people("unanswerable*10", kind="unanswerable", answerable=0),
            people("4*2", *"abcdefgh", kind="number"),
            {"answers": [], "confidences": [], "answer_type": "", "answerable": None},
        ],
    )
    found = {name: value.item() for name, value in figures.items()}
    assert found == pytest.approx(
        {
            "accuracy": (1 + 0 + 1 + 0.6) / 4,
            "accuracy_yes_no": 0.5,
            "accuracy_number": 0.6,
            "accuracy_other": math.nan,
            "accuracy_unanswerable": 1,
            "unanswerable_f1": 1,
            "unanswerable_ap": 1,
            "n": 4,
            "unscored": 1,
        },
        nan_ok=True,
    )


def test_a_sample_that_failed_is_wrong() -> None:
    metric = VizwizMetric()
    targets = [
        people("yes*10", kind="yes/no"),
        people("unanswerable*10", kind="unanswerable", answerable=0),
        {"answers": []},
    ]
    rows = metric.rows(["yes"], targets[:1]).sum(0) + metric.failed_rows(targets).sum(0)
    found = metric.figures(rows)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["unanswerable_f1"] == 0
    assert (found["n"], found["unscored"]) == (3, 1)


def test_targets_that_are_none_are_refused() -> None:
    metric = VizwizMetric()
    for target in ("yes", {}, {"answers": "yes"}, {"answers": ["a"]}, people("a", kind="color")):
        with pytest.raises(ValueError, match="a target must"):
            metric.score(["a"], [target])
    with pytest.raises(ValueError, match="1 confidences for 2 answers"):
        metric.score(["a"], [people("a*2", confidences=["yes"])])
    with pytest.raises(UnknownName, match="Did you mean 'vizwiz-api'"):
        VizwizMetric(rule="vizwiz")


SAMPLES = [
    ("Blue.", people("blue*3", "navy*7")),
    ("navy blue", people("blue*3", "Navy*7")),
    ("unanswerable", people("unanswerable*5", "dog*5", kind="unanswerable", answerable=0)),
    ("two", people("2*2", "3*8", kind="number")),
    ("Unsuitable", people("unsuitable*10", kind="unanswerable", answerable=0)),
    ("no", people("yes*9", "no", kind="yes/no")),
]


def reference(answers: list[str], targets: list[dict[str, Any]]) -> dict[str, float]:
    worth = []
    for answer, target in zip(answers, targets, strict=True):
        said = answer.lower().strip(".").replace("two", "2")
        nines = itertools.combinations(target["answers"], 9)
        worth.append(sum(min(1, nine.count(said) / 3) for nine in nines) / 10)
    return {"accuracy": sum(worth) / len(worth), "n": len(worth)}


@pytest.mark.parametrize("rule", sorted(VQA_RULES))
def test_conformance(rule: str) -> None:
    plain = reference if rule == "vizwiz-api" else lambda a, t: {"n": len(a)}
    check_metric(lambda: VizwizMetric(rule=rule), SAMPLES, plain, processes=1)
