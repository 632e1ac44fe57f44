"""AUROC with intervals, against its definition written out and a loop over resamples."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_auroc

from lvlmsal.statistics import auroc as under_test
from lvlmsal.statistics.auroc import auroc_differences, auroc_intervals
from lvlmsal.statistics.bootstrap import bootstrap_interval
from tests.unit.statistics.by_hand import auroc

VALUES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


@given(VALUES, VALUES)
def test_auroc_counts_pairs(high: list[float], low: list[float]) -> None:
    kinds = [True] * len(high) + [False] * len(low)
    found = auroc_intervals({"x": [*high, *low]}, kinds, range(len(kinds)), draws=2)["x"].value
    assert found == pytest.approx(auroc(high, low))
    squeezed = torch.tensor([*high, *low]) / 10 + 0.5
    assert found == pytest.approx(binary_auroc(squeezed, torch.tensor(kinds)).item(), abs=1e-6)


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
    one_kind = auroc_intervals({"x": [1.0, 2.0]}, [True, True], ["a", "b"])["x"]
    assert math.isnan(one_kind.value)
    assert math.isnan(one_kind.low)
    one_group = auroc_intervals({"x": [1.0, 2.0]}, [True, False], ["a", "a"])["x"]
    assert one_group.value == 0
    assert math.isnan(one_group.low)
    with pytest.raises(ValueError, match="2 items in 1 groups"):
        auroc_intervals({"x": [1.0, 2.0]}, [True, False], ["a"])
    with pytest.raises(ValueError, match="nan"):
        auroc_intervals({"x": [math.nan, 2.0]}, [True, False], ["a", "b"])
    with pytest.raises(ValueError, match="draws"):
        auroc_intervals({"x": [1.0, 2.0]}, [True, False], ["a", "b"], draws=0)
