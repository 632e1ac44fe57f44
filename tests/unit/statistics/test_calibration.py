"""Calibration against plain definitions: likelihood by search, monotone fits by all partitions."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlmsal.statistics.calibration import fit_isotonic, fit_platt

LABELS = st.lists(st.booleans(), min_size=2, max_size=7).filter(lambda v: 0 < sum(v) < len(v))


def nearest_monotone(labels: list[bool]) -> list[float]:
    """The ascending values of least squared error: the best of all ways to cut into blocks."""
    n, best, found = len(labels), float("inf"), []
    for cuts in itertools.product((False, True), repeat=n - 1):
        blocks, start = [], 0
        for at, cut in enumerate([*cuts, True], start=1):
            if cut:
                blocks.append(labels[start:at])
                start = at
        values = [sum(block) / len(block) for block in blocks for _ in block]
        error = sum((v - y) ** 2 for v, y in zip(values, labels, strict=True))
        if values == sorted(values) and error < best - 1e-12:
            best, found = error, values
    return found


@settings(max_examples=40, deadline=None)
@given(LABELS)
def test_isotonic_is_the_nearest_growing_function(labels: list[bool]) -> None:
    scores = torch.arange(len(labels)).double()
    fitted = fit_isotonic(scores, torch.tensor(labels))
    assert fitted(scores).tolist() == pytest.approx(nearest_monotone(labels))
    between = fitted(torch.linspace(-1, len(labels), 50).double())
    assert bool((between.diff() >= -1e-12).all())


def test_ties_share_a_chance() -> None:
    fitted = fit_isotonic(torch.tensor([1.0, 1.0, 1.0, 2.0]), torch.tensor([0, 1, 0, 1]))
    assert fitted(torch.tensor([0.0, 1.0, 1.5, 9.0])).tolist() == pytest.approx(
        [1 / 3, 1 / 3, 2 / 3, 1]
    )


@settings(max_examples=20, deadline=None)
@given(LABELS)
def test_platt_has_the_largest_likelihood(labels: list[bool]) -> None:
    scores, wrong = torch.arange(len(labels)).double(), torch.tensor(labels)
    n1, n0 = sum(labels), len(labels) - sum(labels)
    targets = torch.where(wrong, (n1 + 1) / (n1 + 2), 1 / (n0 + 2)).double()

    def loss(slope: float, offset: float) -> float:
        logits = slope * scores + offset
        return float(
            torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        )

    found = fit_platt(scores, wrong)
    least = loss(found.slope, found.offset)
    for da, db in itertools.product((-0.02, 0, 0.02), repeat=2):
        assert least <= loss(found.slope + da, found.offset + db) + 1e-9


def test_chances_are_right_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4000, generator=generator).double()
    chances = torch.sigmoid(2 * scores - 1)
    wrong = torch.rand(4000, generator=generator) < chances
    platt, isotonic = fit_platt(scores, wrong), fit_isotonic(scores, wrong)
    assert (platt.slope, platt.offset) == pytest.approx((2, -1), abs=0.2)
    assert float((isotonic(scores) - chances).abs().mean()) < 0.03


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
def test_one_kind_alone_is_refused(fit: object) -> None:
    with pytest.raises(ValueError, match="both kinds"):
        fit(torch.tensor([0.1, 0.2]), torch.tensor([1, 1]))  # type: ignore[operator]
    with pytest.raises(ValueError, match="one shape"):
        fit(torch.tensor([0.1, 0.2]), torch.tensor([1]))  # type: ignore[operator]
