"""Intervals and tests, against closed forms, plain loops and exact enumeration."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.statistics import intervals as under_test
from lvlmsal.statistics.intervals import (
    bootstrap_interval,
    figure_intervals,
    paired_difference,
    wilson,
)
from lvlmsal.statistics.mcnemar import mcnemar


def share(counts: Tensor) -> dict[str, Tensor]:
    return {"share": counts[..., 1] / counts[..., 0]}


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


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes in"):
        wilson(k, n)


def test_wilson_of_nothing_is_nan() -> None:
    interval = wilson(0, 0)
    assert math.isnan(interval.value)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_bootstrap_of_two_groups_is_what_enumeration_gives() -> None:
    # two groups can be drawn in four equally likely ways; with the third figure the middle two
    # agree, so quartiles lie between known values
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 2.0]])
    found = bootstrap_interval(rows, ["a", "a", "b"], share, draws=4000, level=0.98)["share"]
    assert (found.value, found.low, found.high, found.n) == (0.5, 0.0, 1.0, 2)
    values = sorted(
        sum(picked[1] for picked in pick) / sum(picked[0] for picked in pick)
        for pick in itertools.product([(2, 0), (2, 2)], repeat=2)
    )
    assert values == [0, 0.5, 0.5, 1]
    half = bootstrap_interval(rows, ["a", "a", "b"], share, draws=4000, level=0.4)["share"]
    assert (half.low, half.high) == (0.5, 0.5)


def test_bootstrap_agrees_with_the_normal_approximation_and_sees_clusters() -> None:
    chooser = random.Random(5)
    groups = [i // 4 for i in range(800)]
    # the four answers on an image are all right or all wrong
    right = [float(chooser.random() < 0.7) for _ in range(200)]
    rows = torch.tensor([[1.0, right[group]] for group in groups])
    p = sum(right) / 200
    clustered = bootstrap_interval(rows, groups, share, seed=1)["share"]
    independent = bootstrap_interval(rows, range(800), share, seed=1)["share"]
    assert clustered.value == independent.value == pytest.approx(p)
    for found, n in ((clustered, 200), (independent, 800)):
        width = 2 * 1.96 * math.sqrt(p * (1 - p) / n)
        assert found.high - found.low == pytest.approx(width, rel=0.1)
        assert found.n == n


def test_bootstrap_is_one_matrix_product_yet_equals_a_loop() -> None:
    rows = torch.tensor([[1.0, 1.0], [2.0, 1.0], [3.0, 0.0], [1.0, 1.0]])
    generator = torch.Generator().manual_seed(3)
    picks = torch.randint(3, (50, 3), generator=generator)
    sums = torch.stack([rows[0] + rows[2], rows[1], rows[3]])
    values = [(sums[pick, 1].sum() / sums[pick, 0].sum()).item() for pick in picks]
    expected = torch.quantile(torch.tensor(values).double(), torch.tensor([0.025, 0.975]).double())
    found = bootstrap_interval(rows, ["a", "b", "a", "c"], share, seed=3, draws=50)["share"]
    assert [found.low, found.high] == pytest.approx(expected.tolist(), abs=1e-6)


def test_bootstrap_is_deterministic_and_does_not_depend_on_the_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = torch.rand(60, 2, generator=torch.Generator().manual_seed(0)) + 0.1
    state = torch.random.get_rng_state()
    first = bootstrap_interval(rows, range(60), share, seed=7, draws=200)
    assert first == bootstrap_interval(rows, range(60), share, seed=7, draws=200)
    assert first != bootstrap_interval(rows, range(60), share, seed=8, draws=200)
    monkeypatch.setattr(under_test, "_CHUNK", 60 * 7)
    assert first == bootstrap_interval(rows, range(60), share, seed=7, draws=200)
    assert torch.equal(state, torch.random.get_rng_state())


def test_too_little_data_has_no_bounds() -> None:
    one = bootstrap_interval(torch.tensor([[1.0, 1.0], [1.0, 0.0]]), ["a", "a"], share)["share"]
    assert one.value == 0.5
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    none = bootstrap_interval(torch.zeros(0, 2), [], share)["share"]
    assert math.isnan(none.value)
    assert none.n == 0
    undefined = bootstrap_interval(torch.zeros(5, 2), range(5), share)["share"]
    assert math.isnan(undefined.value)
    assert math.isnan(undefined.low)


def test_resamples_without_the_figure_are_left_out() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    found = bootstrap_interval(rows, range(3), share)["share"]
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


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
    with pytest.raises(ValueError, match="3 rows for 2"):
        bootstrap_interval(rows, ["a", "b"], share)
    with pytest.raises(ValueError, match="shape"):
        paired_difference(rows, rows[:2], ["a", "b", "c"], share)
    with pytest.raises(ValueError, match="draws"):
        bootstrap_interval(rows, range(3), share, draws=0)
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval(rows, range(3), share, level=95)
    with pytest.raises(ValueError, match="2 outcomes against 1"):
        mcnemar([True, False], [True])


def test_wilson_only_where_samples_are_independent() -> None:
    metric = PopeMetric()
    answers, labels = ["yes", "no", "yes", "yes"] * 5, ["yes", "no", "no", "yes"] * 5
    rows = metric.rows(answers, labels)
    alone = figure_intervals(metric, rows, range(20))
    assert alone["accuracy"] == wilson(15, 20)
    assert alone["precision"] == wilson(10, 15)
    assert alone["f1"] == bootstrap_interval(rows, range(20), metric.figures)["f1"]
    groups = [i // 4 for i in range(20)]
    assert (
        figure_intervals(metric, rows, groups)["accuracy"]
        == (bootstrap_interval(rows, groups, metric.figures)["accuracy"])
    )


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
