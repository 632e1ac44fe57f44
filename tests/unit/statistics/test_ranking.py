"""AUROC and Mann and Whitney's test, against definitions written out and full enumeration."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_auroc

from lvlmsal.statistics import ranking as under_test
from lvlmsal.statistics.intervals import bootstrap_interval
from lvlmsal.statistics.ranking import (
    auroc,
    auroc_differences,
    auroc_intervals,
    mann_whitney,
    rank_correlation,
)

VALUES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


def pairs_won(high: list[float], low: list[float]) -> float:
    return sum((a > b) + (a == b) / 2 for a in high for b in low)


@given(VALUES, VALUES)
def test_auroc_and_u_count_pairs(high: list[float], low: list[float]) -> None:
    assert mann_whitney(high, low).u == pairs_won(high, low)
    assert auroc(high, low) == pairs_won(high, low) / (len(high) * len(low))
    assert auroc(low, high) == pytest.approx(1 - auroc(high, low))
    assert mann_whitney(low, high).p_value == mann_whitney(high, low).p_value
    squeezed = torch.tensor([*high, *low]) / 10 + 0.5
    kinds = torch.tensor([1] * len(high) + [0] * len(low))
    assert auroc(high, low) == pytest.approx(binary_auroc(squeezed, kinds).item(), abs=1e-6)


@given(st.lists(st.integers(0, 3).map(float), min_size=3, max_size=8), st.integers(1, 2))
def test_the_variance_is_that_of_all_ways_to_split_the_values(
    values: list[float], size: int
) -> None:
    found = mann_whitney(values[:size], values[size:])
    us = []
    for chosen in itertools.combinations(range(len(values)), size):
        rest = [v for i, v in enumerate(values) if i not in chosen]
        us.append(pairs_won([values[i] for i in chosen], rest))
    mean = sum(us) / len(us)
    variance = sum((u - mean) ** 2 for u in us) / len(us)
    assert mean == pytest.approx(size * (len(values) - size) / 2)
    if variance == 0:
        assert found.p_value == 1
    else:
        z = max(0, abs(found.u - mean) - 0.5) / math.sqrt(variance)
        assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)))


def test_mann_whitney_by_hand() -> None:
    # 6 beats three values, one 3 ties: U = 3.5 of 20 pairs, 10 of them expected
    found = mann_whitney([1.0, 2.0, 3.0, 6.0], [3.0, 4.0, 5.0, 7.0, 8.0])
    assert found.u == 3.5
    z = (10 - 3.5 - 0.5) / math.sqrt(4 * 5 / 12 * (10 - 6 / 72))
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)))
    assert found.p_value == pytest.approx(0.14, abs=0.01)


def test_the_p_value_is_close_to_that_of_random_splits() -> None:
    chooser = random.Random(0)
    values = [float(chooser.randint(0, 20)) for _ in range(60)]
    first = [value + 4 for value in values[:25]]
    found = mann_whitney(first, values[25:])
    everything = [*first, *values[25:]]
    gap = abs(found.u - 25 * 35 / 2)
    draws, hits = 4000, 0
    for _ in range(draws):
        chooser.shuffle(everything)
        hits += abs(mann_whitney(everything[:25], everything[25:]).u - 25 * 35 / 2) >= gap
    assert 0.001 < found.p_value < 0.2
    assert found.p_value == pytest.approx(hits / draws, abs=4 * math.sqrt(hits) / draws + 0.002)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=10))
def test_rank_correlation_is_that_of_the_ranks(pairs: list[tuple[int, int]]) -> None:
    def ranks(values: list[int]) -> list[float]:
        return [sum(v < value for v in values) + (values.count(value) + 1) / 2 for value in values]

    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    found = rank_correlation([float(a) for a in first], [float(b) ** 3 for b in second])
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(statistics.correlation(ranks(first), ranks(second)))


def drawn(seed: int, groups: int) -> tuple[list[float], list[bool], list[int]]:
    chooser = random.Random(seed)
    owners = [chooser.randrange(groups) for _ in range(40)]
    kinds = [chooser.random() < 0.6 for _ in owners]
    return [round(chooser.gauss(kind, 1.5), 1) for kind in kinds], kinds, owners


def split(values: list[float], kinds: list[bool]) -> tuple[list[float], list[float]]:
    paired = list(zip(values, kinds, strict=True))
    return [v for v, kind in paired if kind], [v for v, kind in paired if not kind]


def test_intervals_are_those_of_a_loop_over_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    values, kinds, owners = drawn(1, 7)
    names = list(dict.fromkeys(owners))
    generator = torch.Generator().manual_seed(5)
    picks = torch.randint(len(names), (60, len(names)), generator=generator).tolist()
    found = []
    for pick in picks:
        items = [i for number in pick for i, owner in enumerate(owners) if owner == names[number]]
        found.append(auroc(*split([values[i] for i in items], [kinds[i] for i in items])))
    ends = torch.nanquantile(torch.tensor(found).double(), torch.tensor([0.05, 0.95]).double())
    interval = auroc_intervals({"x": values}, kinds, owners, seed=5, draws=60, level=0.9)["x"]
    assert interval.value == pytest.approx(auroc(*split(values, kinds)))
    assert [interval.low, interval.high] == pytest.approx(ends.tolist())
    assert interval.n == len(names)
    monkeypatch.setattr(under_test, "_CHUNK", 30)
    again = auroc_intervals({"x": values}, kinds, owners, seed=5, draws=60, level=0.9)["x"]
    assert again == interval


def test_differences_are_paired() -> None:
    values, kinds, owners = drawn(2, 12)
    nearly = [value + 0.01 * index for index, value in enumerate(values)]
    opposite = [-value for value in values]
    scores = {"a": values, "b": nearly, "c": opposite, "d": list(values)}
    found = auroc_differences(scores, "a", kinds, owners)
    alone = auroc_intervals(scores, kinds, owners)
    assert set(found) == {"b", "c", "d"}
    assert (found["d"].value, found["d"].low, found["d"].high) == (0, 0, 0)
    assert found["b"].value == pytest.approx(alone["a"].value - alone["b"].value)
    assert found["b"].high - found["b"].low < (alone["a"].high - alone["a"].low) / 2
    assert found["c"].value == pytest.approx(2 * alone["a"].value - 1)
    assert found["c"].low == pytest.approx(2 * alone["a"].low - 1)


def test_clusters_widen_the_interval_as_the_bootstrap_of_a_mean_does() -> None:
    # with a single negative item at 0 in every group, the AUROC is a share of positive groups
    chooser = random.Random(4)
    signs = [1.0 if chooser.random() < 0.7 else -1.0 for _ in range(200)]
    values = [v for sign in signs for v in (sign, sign, 0.0)]
    kinds = [True, True, False] * 200
    owners = [group for group in range(200) for _ in range(3)]
    found = auroc_intervals({"x": values}, kinds, owners, seed=1)["x"]
    rows = torch.tensor([[1.0, (sign + 1) / 2] for sign in signs])
    share = bootstrap_interval(rows, range(200), lambda c: {"s": c[..., 1] / c[..., 0]}, seed=1)
    assert (found.value, found.low, found.high) == pytest.approx(
        (share["s"].value, share["s"].low, share["s"].high)
    )


def test_too_little_and_wrong_input() -> None:
    assert math.isnan(auroc([], [1.0]))
    assert math.isnan(mann_whitney([1.0], []).p_value)
    one_kind = auroc_intervals({"x": [1.0, 2.0]}, [True, True], ["a", "b"])["x"]
    assert math.isnan(one_kind.value)
    assert math.isnan(one_kind.low)
    one_group = auroc_intervals({"x": [1.0, 2.0]}, [True, False], ["a", "a"])["x"]
    assert one_group.value == 0
    assert math.isnan(one_group.low)
    with pytest.raises(ValueError, match="2 items in 1 groups"):
        auroc_intervals({"x": [1.0, 2.0]}, [True, False], ["a"])
    with pytest.raises(ValueError, match="1 values against 2"):
        rank_correlation([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="nan"):
        auroc([math.nan], [1.0])
    with pytest.raises(ValueError, match="draws"):
        auroc_intervals({"x": [1.0, 2.0]}, [True, False], ["a", "b"], draws=0)
