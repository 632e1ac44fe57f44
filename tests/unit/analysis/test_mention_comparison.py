"""Correct against hallucinated mentions: moments, ranges and what is left out."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.analysis.added import added_value
from lvlmsal.analysis.mention_comparison import Binning, compare, hallucination_bins
from lvlmsal.analysis.scores import SCORES
from lvlmsal.errors import UnsupportedError
from lvlmsal.statistics.intervals import wilson
from tests.unit.analysis.conftest import make_rows
from tests.unit.statistics.by_hand import auroc, mann_whitney_p


def test_every_figure_of_a_comparison() -> None:
    rows = make_rows(120)
    found = {entry.score: entry for entry in compare(rows, draws=200)}
    assert list(found) == list(SCORES)
    for name, entry in found.items():
        kinds = {
            kind: [row.scores[name] or 0.0 for row in rows if row.hallucinated == kind]
            for kind in (False, True)
        }
        assert list(entry.correct) == kinds[False]
        assert list(entry.hallucinated) == kinds[True]
        for kind, label in ((False, "correct"), (True, "hallucinated")):
            mean, deviation = entry.moments[label]
            assert mean == pytest.approx(statistics.mean(kinds[kind]))
            assert deviation == pytest.approx(statistics.stdev(kinds[kind]))
        # an entropy or a position speaks for a correct mention where it is small
        high, low = (True, False) if name in ("entropy", "position") else (False, True)
        assert entry.auroc.value == pytest.approx(auroc(kinds[high], kinds[low]))
        assert entry.auroc.low <= entry.auroc.value <= entry.auroc.high
        assert entry.auroc.n == 40
        assert entry.p_value == pytest.approx(mann_whitney_p(kinds[False], kinds[True]))
        if name == "saliency":
            assert entry.gain is None
        else:
            assert entry.gain is not None
            assert entry.gain.value == pytest.approx(
                found["saliency"].auroc.value - entry.auroc.value
            )


def test_mentions_without_a_score_are_left_out_of_all() -> None:
    rows = make_rows(60)
    short = [
        replace(row, scores={**row.scores, "saliency_last": None}) if row.index == 0 else row
        for row in rows
    ]
    assert compare(short, draws=100) == compare([r for r in rows if r.index], draws=100)


ITEMS = st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=60)


@given(ITEMS, st.sampled_from(["equal-width", "equal-count"]), st.integers(1, 12))
def test_every_mention_is_in_one_range(
    items: list[tuple[float, bool]], binning: Binning, count: int
) -> None:
    correct = [value for value, wrong in items if not wrong]
    hallucinated = [value for value, wrong in items if wrong]
    found = hallucination_bins(correct, hallucinated, binning=binning, count=count)
    assert len(found) == count
    sizes = [part.rate.n for part in found]
    assert sum(sizes) == len(items)
    wrong = sum(part.rate.value * part.rate.n for part in found if part.rate.n)
    assert wrong == pytest.approx(len(hallucinated))
    values = sorted(value for value, _ in items)
    if binning == "equal-count":
        assert max(sizes) - min(sizes) <= 1
        at = 0
        for part, size in zip(found, sizes, strict=True):
            if size:
                assert (part.low, part.high) == (values[at], values[at + size - 1])
            at += size
    else:
        assert (found[0].low, found[-1].high) == (values[0], values[-1])
        for number, part in enumerate(found):
            last = number == count - 1
            inside = [v for v in values if part.low <= v and (last or v < part.high)]
            if part.low < part.high:
                assert part.rate.n == len(inside)


def test_ranges_by_hand() -> None:
    found = hallucination_bins([0.0, 1.0, 9.0, 10.0], [0.5, 5.0], count=10)
    assert [part.rate.n for part in found] == [2, 1, 0, 0, 0, 1, 0, 0, 0, 2]
    assert found[0].rate == wilson(1, 2)
    assert math.isnan(found[2].rate.value)
    assert [(part.low, part.high) for part in found[:2]] == [(0.0, 1.0), (1.0, 2.0)]
    same = hallucination_bins([1.0, 1.0], [1.0], count=3)
    assert sum(part.rate.n for part in same) == 3
    assert hallucination_bins([], []) == []
    with pytest.raises(ValueError, match="'equal-width' or 'equal-count', got 'deciles'"):
        hallucination_bins([1.0], [], binning="deciles")  # type: ignore[arg-type] # the mistake


@pytest.mark.slow
def test_what_saliency_adds() -> None:
    telling = added_value(make_rows(900, strength=1.5), draws=200)
    assert telling.gain.low > 0.03
    assert telling.gain.value == pytest.approx(telling.both.value - telling.rivals.value)
    # a copy of what another score says adds nothing
    rows = [
        replace(row, scores={**row.scores, "saliency": row.scores["log_probability"]})
        for row in make_rows(900, strength=1.5)
    ]
    copied = added_value(rows, draws=200)
    assert abs(copied.gain.value) < 0.01
    assert copied.rivals == telling.rivals
    with pytest.raises(UnsupportedError, match="are needed to fit"):
        added_value(rows[:9])


def test_the_p_value_of_six_mentions_by_hand() -> None:
    # values 1, 2, 4 against 3, 5, 6: U = 1 of 9 pairs, 4.5 expected, variance 3 * 3 * 7 / 12
    rows = make_rows(6)
    values = {False: iter([1.0, 2.0, 4.0]), True: iter([3.0, 5.0, 6.0])}
    kinds = [False, True, False, True, False, True]
    rows = [
        replace(row, hallucinated=kind, scores=dict.fromkeys(SCORES, next(values[kind])))
        for row, kind in zip(rows, kinds, strict=True)
    ]
    p = math.erfc((4.5 - 1 - 0.5) / math.sqrt(63 / 12) / math.sqrt(2))
    assert [entry.p_value for entry in compare(rows, draws=2)] == pytest.approx([p] * len(SCORES))
    alone = compare([row for row in rows if row.hallucinated], draws=2)
    assert all(math.isnan(entry.p_value) for entry in alone)
