"""The rule, case by case."""

from __future__ import annotations

from lvlmsal.decoders.guided.choice import Candidate, Choice, choose

NAN = float("nan")


def chosen(
    *given: tuple[int, float | None, str], named: str = "", threshold: float = 0.9
) -> Choice:
    """Candidates as (token, risk, the letters of the objects that it can name), in their order."""
    candidates = [Candidate(token, 0.1, risk, frozenset(of)) for token, risk, of in given]
    return choose(candidates, lambda risk: risk >= threshold, frozenset(named))


def test_a_first_candidate_of_low_risk_is_taken_whatever_the_others() -> None:
    found = chosen((1, 0.89, "a"), (2, 0.0, "b"), named="a")
    assert (found.taken.token, found.fallback, found.rejected) == (1, False, ())


def test_the_next_judged_word_of_low_risk_replaces_it() -> None:
    found = chosen((1, 0.9, "a"), (2, 0.95, "b"), (3, 0.5, "c"), (4, 0.1, "d"))
    assert (found.taken.token, found.fallback) == (3, False)
    assert [one["id"] for one in found.rejections()] == [1, 2]
    assert found.rejections()[1] == {"id": 2, "risk": 0.95, "probability": 0.1}


def test_what_is_no_judged_word_replaces_nothing() -> None:
    """Else colors are said one after the other where an object was to be named."""
    found = chosen((1, 0.95, "a"), (2, None, ""), (3, 0.5, "c"))
    assert found.taken.token == 3


def test_a_word_that_was_not_named_comes_first() -> None:
    assert chosen((1, 0.9, "a"), (2, 0.1, "b"), (3, 0.8, "c"), named="b").taken.token == 3
    # where the rest of a word decides what it names, it may be something new
    assert chosen((1, 0.9, "a"), (2, 0.1, "bx"), (3, 0.8, "c"), named="b").taken.token == 2
    # named ones are still better than risky ones
    assert chosen((1, 0.9, "a"), (2, 0.1, "b"), (3, 0.95, "c"), named="b").taken.token == 2


def test_the_least_risky_one_stands_where_all_are_risky() -> None:
    found = chosen((1, 0.98, "a"), (2, None, ""), (3, 0.92, "c"), (4, 0.95, "d"))
    assert (found.taken.token, found.fallback) == (3, True)
    assert [one.token for one in found.rejected] == [1, 4]
    alone = chosen((1, 0.98, "a"), (2, None, ""))
    assert (alone.taken.token, alone.fallback, alone.rejected) == (1, True, ())


def test_what_cannot_be_judged_is_not_risky() -> None:
    assert chosen((1, NAN, "a"), (2, 0.1, "b")).taken.token == 1
    assert chosen((1, 0.95, "a"), (2, NAN, "b"), (3, 0.1, "c")).taken.token == 2
