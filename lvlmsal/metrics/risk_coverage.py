"""How well risks sort answers or words: selective risk, and what a perfect order would give.

Keep the k items of least risk; the selective risk is the share of wrong ones among them. Items of
the same risk stand in every order at once: each figure is the mean over these orders, so that no
order of a file can flatter a score with ties.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def selective_risks(risks: Tensor, wrong: Tensor) -> Tensor:
    """The share of wrong items among the k of least risk, for every k.

    Args:
        risks: one number an item, shape (n,); larger is worse.
        wrong: whether each item is wrong, shape (n,).

    Returns:
        Shape (n,), float64, for k = 1, ..., n.

    Raises:
        ValueError: the shapes differ, or a risk is nan.

    >>> selective_risks(torch.tensor([0.1, 0.5, 0.5]), torch.tensor([0, 1, 0])).tolist()
    [0.0, 0.25, 0.3333333333333333]
    """
    if risks.shape != wrong.shape or risks.dim() != 1:
        raise ValueError(
            f"expected risks and labels of one shape (n,), got {tuple(risks.shape)} and "
            f"{tuple(wrong.shape)}"
        )
    if bool(risks.isnan().any()):
        raise ValueError("a risk is nan; leave items without a risk out")
    knots, group = tied(risks.double())
    size = torch.bincount(group, minlength=len(knots))
    count = torch.zeros_like(knots).index_add_(0, group, wrong.double())
    expected = (count / size).repeat_interleave(size)  # of each place, in order of risk
    found: Tensor = expected.cumsum(0) / torch.arange(1, len(risks) + 1, device=risks.device)
    return found


def tied(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct scores, ascending, and the number of each item's one among them.

    Args:
        scores: shape (n,), without nan.

    >>> tied(torch.tensor([3.0, 1.0, 3.0]))
    (tensor([1., 3.]), tensor([1, 0, 1]))
    """
    ordered = scores.sort().values
    fresh = torch.ones(len(ordered), dtype=torch.bool, device=scores.device)
    fresh[1:] = ordered[1:] != ordered[:-1]
    knots = ordered[fresh]
    return knots, torch.searchsorted(knots, scores)


def aurc(risks: Tensor, wrong: Tensor) -> float:
    """Area under the risk-coverage curve: the mean selective risk over every coverage.

    Args:
        risks: as in `selective_risks`, and so the rest.
        wrong: whether each item is wrong.

    Returns:
        nan without items; of a constant risk the base rate.

    >>> aurc(torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0, 0, 1]))
    0.1111111111111111
    """
    found = selective_risks(risks, wrong)
    return float(found.mean()) if len(found) else math.nan


def excess_aurc(risks: Tensor, wrong: Tensor) -> float:
    """`aurc` minus that of a perfect order; 0 where every wrong item has the larger risk.

    Args:
        risks: as in `selective_risks`, and so the rest.
        wrong: whether each item is wrong.

    >>> excess_aurc(torch.tensor([0.9, 0.1]), torch.tensor([1, 0]))
    0.0
    """
    return aurc(risks, wrong) - aurc(wrong.double(), wrong)


def prediction_rejection_ratio(risks: Tensor, wrong: Tensor) -> float:
    """How far from chance (0) to a perfect order (1) the risk-coverage curve lies.

    (base rate - AURC) / (base rate - AURC of a perfect order). Below 0 the order is worse than
    chance.

    Args:
        risks: as in `selective_risks`, and so the rest.
        wrong: whether each item is wrong.

    Returns:
        nan where all items are wrong, or none.

    >>> prediction_rejection_ratio(torch.tensor([0.5, 0.5]), torch.tensor([1, 0]))
    0.0
    """
    base = float(wrong.double().mean()) if len(wrong) else math.nan
    if not 0 < base < 1:
        return math.nan
    return (base - aurc(risks, wrong)) / (base - aurc(wrong.double(), wrong))
