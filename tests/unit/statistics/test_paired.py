"""Paired comparisons, against exact enumeration and what pairing promises."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lvlmsal.statistics.bootstrap import bootstrap_interval
from lvlmsal.statistics.paired import mcnemar, paired_difference


def share(counts: Tensor) -> dict[str, Tensor]:
    return {"share": counts[..., 1] / counts[..., 0]}


def test_paired_difference_cancels_what_both_share() -> None:
    chooser = random.Random(2)
    base = [float(chooser.random() < 0.5) for _ in range(300)]
    better = [1.0 if i % 10 == 0 else value for i, value in enumerate(base)]
    rows = [torch.tensor([[1.0, value] for value in values]) for values in (better, base)]
    found = paired_difference(*rows, range(300), share)["share"]
    assert found.value == pytest.approx((sum(better) - sum(base)) / 300)
    assert 0 < found.low < found.value < found.high
    separate = [bootstrap_interval(part, range(300), share)["share"] for part in rows]
    width = sum(interval.high - interval.low for interval in separate)
    assert found.high - found.low < width / 3
    swapped = paired_difference(rows[1], rows[0], range(300), share)["share"]
    assert swapped.value == -found.value
    assert swapped.low == pytest.approx(-found.high)
    same = paired_difference(rows[0], rows[0], range(300), share)["share"]
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_wrong_arguments_are_refused() -> None:
    rows = torch.ones(3, 2)
    with pytest.raises(ValueError, match="shape"):
        paired_difference(rows, rows[:2], ["a", "b", "c"], share)
    with pytest.raises(ValueError, match="2 outcomes against 1"):
        mcnemar([True, False], [True])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12))
def test_mcnemar_is_the_enumerated_binomial(pairs: list[tuple[bool, bool]]) -> None:
    found = mcnemar([a for a, _ in pairs], [b for _, b in pairs])
    assert found.only_a == pairs.count((True, False))
    assert found.only_b == pairs.count((False, True))
    n = found.only_a + found.only_b
    imbalance = abs(found.only_a - found.only_b)
    outcomes = list(itertools.product([1, -1], repeat=n))
    as_uneven = sum(abs(sum(outcome)) >= imbalance for outcome in outcomes)
    assert found.p_value == pytest.approx(as_uneven / len(outcomes))


def test_mcnemar_of_many_questions_does_not_overflow() -> None:
    found = mcnemar([True] * 1600 + [False] * 1400, [False] * 1600 + [True] * 1400)
    z = (200 - 1) / math.sqrt(3000)
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-2)
