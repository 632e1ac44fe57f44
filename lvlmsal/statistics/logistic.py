"""Logistic regression with a ridge, for hundreds of items."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

RIDGE: Final = 1e-2
"""Half the penalty of a standardized weight of 1, in nats an item."""

_STEPS: Final = 100


class Logistic(NamedTuple):
    """The chance sigmoid(weights . (x - mean) / deviation + offset).

    Attributes:
        mean: of each feature, shape (F,).
        deviation: of each feature, shape (F,).
        weights: of the standardized features, shape (F,).
        offset: of the logit.
    """

    mean: Tensor
    deviation: Tensor
    weights: Tensor
    offset: float

    def logits(self, features: Tensor) -> Tensor:
        """Logits of features (..., F), shape (...)."""
        standard = (features.double() - self.mean) / self.deviation
        return standard @ self.weights + self.offset


def fit_logistic(features: Tensor, wrong: Tensor, *, ridge: float = RIDGE) -> Logistic:
    """Fit by Newton's method; the offset is not penalized.

    Where there are more features than items, the weights are a sum of the items' features at the
    optimum, whatever the labels, so as many numbers as there are items are looked for.

    Args:
        features: shape (n, F).
        wrong: labels, shape (n,).
        ridge: strength of the penalty.

    Raises:
        ValueError: the lengths differ, a feature is not finite, or all labels are the same.

    >>> made = fit_logistic(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 0, 1]))
    >>> made.logits(torch.tensor([[2.0]])) > made.logits(torch.tensor([[0.0]]))
    tensor([True])
    """
    if len(features) != len(wrong):
        raise ValueError(f"{len(features)} rows of features for {len(wrong)} labels")
    values, kinds = features.double(), wrong.double()
    if not bool(values.isfinite().all()):
        raise ValueError("a feature is not finite")
    if not 0 < float(kinds.sum()) < len(kinds):
        raise ValueError("a fit needs items of both kinds, right and wrong")
    mean, deviation = values.mean(0), values.std(0).clamp_min(1e-12)
    standard, directions = (values - mean) / deviation, None
    if standard.shape[1] > len(standard):
        left, sizes, directions = torch.linalg.svd(standard, full_matrices=False)
        standard = left * sizes
    ones = torch.ones(len(values), 1, dtype=torch.float64)
    design = torch.cat([standard, ones], dim=1)
    penalty = torch.full((design.shape[1],), ridge, dtype=torch.float64)
    penalty[-1] = 1e-9
    weights = torch.zeros_like(penalty)
    for _ in range(_STEPS):
        chances = torch.sigmoid(design @ weights)
        gradient = design.T @ (chances - kinds) / len(kinds) + penalty * weights
        bend = (design.T * (chances * (1 - chances))) @ design / len(kinds)
        step = torch.linalg.solve(bend + penalty.diag(), gradient)
        weights = weights - step.clamp(-5, 5)
        if float(step.abs().max()) < 1e-10:
            break
    found = weights[:-1] if directions is None else weights[:-1] @ directions
    return Logistic(mean, deviation, found, float(weights[-1]))
