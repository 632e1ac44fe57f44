"""The rules that read answers, on answers that distinguish them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.errors import UnknownName
from lvlmsal.metrics.answer_parsers import COUNT_NAMES, PARSERS, get_parser

RULES = ("strict", "pope-official", "llava", "opera", "lmms-eval", "vlmevalkit")
Y, N, O = "yes", "no", None  # noqa: E741 (columns of a table)

TABLE = [
    # answer, then: strict, official, llava, opera, lmms-eval, vlmevalkit
    ("Yes", (Y, Y, Y, Y, Y, Y)),
    ("Yes.", (Y, Y, Y, Y, O, Y)),
    ("No, there is not.", (N, N, N, N, O, N)),
    ("There isn't a dog.", (O, Y, Y, N, O, O)),
    ("Yes, but there is no cat.", (Y, N, N, N, O, O)),
    ("I cannot tell.", (O, Y, Y, Y, O, O)),
    ("", (O, Y, Y, Y, O, O)),
    ("The dog is not visible. Yes", (O, N, N, N, O, Y)),
    ("NO", (N, Y, Y, N, N, N)),
    ("nO", (N, Y, Y, Y, N, N)),
    ("Not visible", (O, Y, Y, Y, O, O)),
    ("not sure", (O, N, N, N, O, O)),
    ("No!", (N, Y, Y, Y, O, N)),
    ("No:", (N, Y, Y, Y, O, O)),
    ("No;", (N, Y, Y, Y, O, N)),
    ('"No"', (N, Y, Y, Y, O, N)),
    ("(no)", (N, Y, Y, Y, O, N)),
    ("**No**", (N, Y, Y, Y, O, O)),
    ("\nNo", (N, Y, Y, Y, N, N)),
    ("No\nThe image shows a cat", (N, Y, Y, Y, O, N)),
    ("None", (O, Y, Y, Y, O, O)),
    ("Nope", (O, Y, Y, Y, O, O)),
    ("...No", (N, Y, Y, N, O, N)),
    ("A. No", (O, Y, Y, N, O, N)),
    ("Maybe. No.", (O, Y, Y, N, O, N)),
    ("yes,no", (Y, Y, Y, Y, O, O)),
    ("no,yes", (N, Y, Y, Y, O, O)),
    ("a\u00a0no", (O, Y, Y, Y, O, N)),
    ("Yes, no doubt.", (Y, N, N, N, O, O)),
    ("Yes. There is no doubt", (Y, Y, Y, N, O, O)),
    ("  yes  ", (Y, Y, Y, Y, Y, Y)),
    ("no-one is there", (O, Y, Y, Y, O, N)),
    ("no- one is there", (N, Y, Y, Y, O, N)),
    ("no-one - is there", (O, Y, Y, Y, O, O)),
    ("no,one counted 1,000", (N, Y, Y, Y, O, O)),
    ("." * 32 + "yes.", (Y, Y, Y, Y, O, O)),
    ("." * 31 + "yes.", (Y, Y, Y, Y, O, Y)),
    ("yes.5", (Y, Y, Y, Y, O, O)),
    ("don't know", (O, Y, Y, N, O, O)),
    ("wasn\u2019t there", (O, Y, Y, Y, O, O)),
]


@pytest.mark.parametrize(("answer", "verdicts"), TABLE)
def test_verdicts(answer: str, verdicts: tuple[str | None, ...]) -> None:
    assert tuple(get_parser(rule).parse(answer) for rule in RULES) == verdicts


@pytest.mark.parametrize(
    ("answer", "label", "verdict", "unparsed"),
    [
        ("Yes, there is", "yes", "yes", 0),
        ("Yes, there is", "no", "yes", 0),
        ("I know it is snowing", "no", "no", 0),
        ("I know it is snowing", "yes", "no", 0),
        ("another one", "no", "no", 0),
        ("yes, no doubt", "yes", "yes", 0),
        ("yes, no doubt", "no", "no", 0),
        ("maybe", "yes", "no", 1),
        ("maybe", "no", "yes", 1),
        ("", "no", "yes", 1),
    ],
)
def test_vcd_looks_at_the_label(answer: str, label: str, verdict: str, unparsed: int) -> None:
    rule = get_parser("vcd")
    assert rule.parse(answer, label) == verdict
    assert dict(zip(COUNT_NAMES, rule.counts(answer, label), strict=True))["unparsed"] == unparsed


def test_vcd_without_a_label_is_sure_only_where_both_labels_agree() -> None:
    rule = get_parser("vcd")
    assert [rule.parse(a) for a in ("yes", "no", "yes, no doubt", "maybe")] == ["yes", "no", O, O]


ANSWERS = st.one_of(
    st.text(st.characters(codec=None, exclude_categories=())),
    st.lists(
        st.sampled_from(["Yes", "no", "not", "n't", ".", ",", " ", "1,0", "-", "\n", "\ud800"])
    ).map("".join),
)


@given(ANSWERS, st.sampled_from(["yes", "no"]), st.sampled_from(sorted(PARSERS)))
def test_no_text_makes_a_rule_raise_and_counts_are_consistent(
    answer: str, label: str, name: str
) -> None:
    rule = PARSERS[name]
    verdict = rule.parse(answer, label)
    assert verdict in ("yes", "no", None)
    assert rule.parse(answer) in ("yes", "no", None)
    counts = dict(zip(COUNT_NAMES, rule.counts(answer, label), strict=True))
    assert set(counts.values()) <= {0, 1}
    assert counts["n"] == 1
    assert counts["correct"] == (verdict == label)
    assert counts["yes"] == (verdict == "yes")
    assert counts["true_yes"] == (counts["yes"] and label == "yes")
    assert counts["true_yes"] <= counts["gold_yes"] <= (label == "yes")
    assert not (counts["unparsed"] and counts["correct"])
    if verdict is None:
        assert counts["unparsed"]


def test_names_and_unknown_names() -> None:
    assert set(PARSERS) == {*RULES, "vcd"}
    assert all(parser.name == name and parser.summary for name, parser in PARSERS.items())
    with pytest.raises(UnknownName, match=r"'pope-oficial'.*Did you mean 'pope-official'"):
        get_parser("pope-oficial")


@pytest.mark.parametrize("label", ["Yes", "", "1", None])
def test_labels_other_than_yes_and_no_are_refused(label: str) -> None:
    with pytest.raises(ValueError, match="must be 'yes' or 'no'"):
        get_parser("strict").counts("yes", label)
