"""From scores to chances: Platt's sigmoid and isotonic regression, fitted on labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from lvlmsal.metrics.risk_coverage import tied

CalibrationName = Literal["none", "platt", "isotonic"]

_STEPS: Final = 50


@dataclass(frozen=True)
class Platt:
    """The chance sigmoid(slope * score + offset).

    Attributes:
        slope: not negative where larger scores are worse.
        offset: of the logit.
    """

    slope: float
    offset: float

    def __call__(self, scores: Tensor) -> Tensor:
        """Chances of scores, same shape."""
        return torch.sigmoid(self.slope * scores.double() + self.offset)


@dataclass(frozen=True)
class Isotonic:
    """A chance that grows with the score, in steps joined by straight lines.

    Attributes:
        scores: ascending.
        chances: at each of them, ascending.
    """

    scores: tuple[float, ...]
    chances: tuple[float, ...]

    def __call__(self, scores: Tensor) -> Tensor:
        """Chances of scores, same shape; beyond the ends those of the ends."""
        knots, values = scores.new_tensor(self.scores), scores.new_tensor(self.chances)
        right = torch.searchsorted(knots, scores.contiguous()).clamp(max=len(knots) - 1)
        left = (right - 1).clamp_min(0)
        width = (knots[right] - knots[left]).clamp_min(torch.finfo(knots.dtype).tiny)
        share = ((scores - knots[left]) / width).clamp(0, 1)
        return values[left] + share * (values[right] - values[left])


def fit_platt(scores: Tensor, wrong: Tensor) -> Platt:
    """Platt's sigmoid of largest likelihood, with his targets in place of 0 and 1.

    These ((n1 + 1) / (n1 + 2) and 1 / (n0 + 2)) keep the slope finite where scores tell right from
    wrong without a mistake.

    Args:
        scores: shape (n,), larger is worse.
        wrong: labels, shape (n,).

    Raises:
        ValueError: there is no wrong item, or no right one.

    >>> found = fit_platt(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0, 1, 0, 1]))
    >>> round(float(found(torch.tensor(1.5))), 3)
    0.5
    """
    kinds = _checked(scores, wrong)
    n1 = float(kinds.sum())
    n0 = len(kinds) - n1
    targets = torch.where(kinds > 0, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    values = scores.double()
    mean, deviation = values.mean(), values.std().clamp_min(1e-12)
    design = torch.stack([(values - mean) / deviation, torch.ones_like(values)], dim=1)
    weights = torch.zeros(2, dtype=torch.float64)
    for _ in range(_STEPS):  # Newton's method; the loss is convex
        chances = torch.sigmoid(design @ weights)
        gradient = design.T @ (chances - targets)
        curvature = (design.T * (chances * (1 - chances))) @ design
        step = torch.linalg.solve(curvature + 1e-9 * torch.eye(2).double(), gradient)
        weights -= step.clamp(-5, 5)
        if float(step.abs().max()) < 1e-10:
            break
    slope = float(weights[0] / deviation)
    return Platt(slope, float(weights[1]) - slope * float(mean))


def fit_isotonic(scores: Tensor, wrong: Tensor) -> Isotonic:
    """The growing function that is nearest to the labels.

    Args:
        scores: shape (n,), larger is worse.
        wrong: labels, shape (n,).

    Raises:
        ValueError: there is no wrong item, or no right one.

    >>> fit_isotonic(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0, 1, 1])).chances
    (0.0, 1.0, 1.0)
    """
    # deferred: no listing should wait for scipy
    from scipy.optimize import isotonic_regression

    kinds = _checked(scores, wrong)
    knots, group = tied(scores.double())
    size = torch.bincount(group, minlength=len(knots))
    means = torch.zeros_like(knots).index_add_(0, group, kinds) / size
    fitted = isotonic_regression(means.numpy(), weights=size.double().numpy()).x
    return Isotonic(tuple(knots.tolist()), tuple(map(float, fitted)))


def _checked(scores: Tensor, wrong: Tensor) -> Tensor:
    if scores.shape != wrong.shape or scores.dim() != 1:
        raise ValueError(
            f"expected scores and labels of one shape (n,), got {tuple(scores.shape)} and "
            f"{tuple(wrong.shape)}"
        )
    kinds = wrong.double()
    if not 0 < float(kinds.sum()) < len(kinds):
        raise ValueError("a calibration needs items of both kinds, right and wrong")
    return kinds
