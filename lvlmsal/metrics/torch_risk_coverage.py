"""The figures of `lvlmsal.metrics.risk_coverage` as metrics of torchmetrics.

They stand by themselves because importing torchmetrics imports transformers.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lvlmsal.metrics.risk_coverage import aurc, excess_aurc, prediction_rejection_ratio


class _RiskCoverage(Metric):
    """Holds all risks and labels, for the order of all of them counts.

    Attributes:
        risks: so far.
        wrong: so far.
    """

    full_state_update = False
    is_differentiable = False
    risks: list[Tensor] | Tensor
    wrong: list[Tensor] | Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("risks", [], dist_reduce_fx="cat")
        self.add_state("wrong", [], dist_reduce_fx="cat")

    def update(self, risks: Tensor, wrong: Tensor) -> None:
        """Add items.

        Args:
            risks: one number an item, shape (n,); larger is worse.
            wrong: whether each item is wrong, shape (n,).
        """
        assert isinstance(self.risks, list)  # only a synchronized metric holds one tensor
        assert isinstance(self.wrong, list)
        self.risks.append(risks.detach().double())
        self.wrong.append(wrong.bool())

    @staticmethod
    @abstractmethod
    def figure(risks: Tensor, wrong: Tensor) -> float:
        """The figure of all items at once."""

    def compute(self) -> Tensor:
        """The figure over everything that was added, float64."""
        found = self.figure(dim_zero_cat(self.risks), dim_zero_cat(self.wrong))
        return torch.tensor(found, dtype=torch.float64)


class AURC(_RiskCoverage):
    """See `lvlmsal.metrics.risk_coverage.aurc`.

    >>> metric = AURC()
    >>> metric.update(torch.tensor([0.1, 0.9]), torch.tensor([0, 1]))
    >>> metric.compute()
    tensor(0.2500, dtype=torch.float64)
    """

    higher_is_better = False
    figure = staticmethod(aurc)


class ExcessAURC(_RiskCoverage):
    """See `lvlmsal.metrics.risk_coverage.excess_aurc`."""

    higher_is_better = False
    figure = staticmethod(excess_aurc)


class PredictionRejectionRatio(_RiskCoverage):
    """See `lvlmsal.metrics.risk_coverage.prediction_rejection_ratio`."""

    higher_is_better = True
    figure = staticmethod(prediction_rejection_ratio)
