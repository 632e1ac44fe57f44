"""Logistic regression: the optimum by its gradient, and what it finds again."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlmsal.statistics.logistic import fit_logistic


def data(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 3, generator=generator).double() * torch.tensor([1.0, 9.0, 0.1])
    logits = features @ torch.tensor([2.0, 0.0, -10.0]).double() - 1
    return features, torch.rand(count, generator=generator) < torch.sigmoid(logits)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1.0), st.sampled_from([0, 40, 200]))
def test_it_is_the_optimum(seed: int, ridge: float, more: int) -> None:
    features, wrong = data(60, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    features = torch.cat([features, torch.randn(60, more, generator=generator)], dim=1)
    if wrong.all() or not wrong.any():
        return
    made = fit_logistic(features, wrong, ridge=ridge)
    weights = made.weights.clone().requires_grad_()
    offset = torch.tensor(made.offset, dtype=torch.float64, requires_grad=True)
    logits = ((features - made.mean) / made.deviation) @ weights + offset
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wrong.double())
    (loss + ridge / 2 * weights.square().sum()).backward()
    assert weights.grad is not None
    assert offset.grad is not None
    assert weights.grad.abs().max() < 1e-8
    assert abs(float(offset.grad)) < 1e-8


def test_it_finds_what_made_the_labels() -> None:
    features, wrong = data(20_000, 1)
    made = fit_logistic(features, wrong, ridge=1e-6)
    assert (made.weights / made.deviation).tolist() == pytest.approx([2, 0, -10], abs=0.8)
    again = fit_logistic(features * 100 + 7, wrong, ridge=1e-6)
    wanted = made.logits(features)
    torch.testing.assert_close(again.logits(features * 100 + 7), wanted, rtol=1e-5, atol=1e-5)


def test_separable_data_have_finite_weights() -> None:
    made = fit_logistic(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
    assert bool(made.weights.isfinite().all())


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        fit_logistic(torch.zeros(3, 1), torch.ones(3))
    with pytest.raises(ValueError, match="3 rows of features for 2 labels"):
        fit_logistic(torch.zeros(3, 1), torch.ones(2))
    with pytest.raises(ValueError, match="not finite"):
        fit_logistic(torch.tensor([[torch.nan], [1.0]]), torch.tensor([0, 1]))
