"""The cluster bootstrap, against exact enumeration, plain loops and the normal approximation."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from torch import Tensor

from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.statistics import bootstrap as under_test
from lvlmsal.statistics.bootstrap import bootstrap_interval, figure_intervals
from lvlmsal.statistics.intervals import wilson


def share(counts: Tensor) -> dict[str, Tensor]:
    return {"share": counts[..., 1] / counts[..., 0]}


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


def test_wrong_arguments_are_refused() -> None:
    rows = torch.ones(3, 2)
    with pytest.raises(ValueError, match="3 rows for 2"):
        bootstrap_interval(rows, ["a", "b"], share)
    with pytest.raises(ValueError, match="draws"):
        bootstrap_interval(rows, range(3), share, draws=0)
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval(rows, range(3), share, level=95)


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
