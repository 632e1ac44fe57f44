"""Wilson's interval, against the equation that defines it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.statistics.intervals import wilson


@given(st.integers(0, 500), st.integers(1, 500), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_bounds_solve_the_score_equation(k: int, extra: int, level: float) -> None:
    n = k + extra - 1 if k else extra
    z = {0.5: 0.6744898, 0.9: 1.6448536, 0.95: 1.9599640, 0.99: 2.5758293}[level]
    interval = wilson(k, n, level=level)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.n == n
    for bound in (interval.low, interval.high):
        # |observed - bound| = z * standard deviation under the bound
        gap = abs(k / n - bound)
        assert gap == pytest.approx(z * math.sqrt(bound * (1 - bound) / n), abs=1e-6)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0.5, 3), (1, 2.5)])
def test_wilson_refuses_impossible_counts(k: float, n: float) -> None:
    with pytest.raises(ValueError, match="successes in"):
        wilson(k, n)


def test_wilson_of_nothing_is_nan() -> None:
    interval = wilson(0, 0)
    assert math.isnan(interval.value)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_wilson_refuses_a_level_that_is_no_share() -> None:
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 95"):
        wilson(1, 2, level=95)
