"""A detector fitted on labels: a regression on its features, and chances for other images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor

from lvlmsal.detection.base import Detector
from lvlmsal.detection.fits import LARGEST, Fit, short
from lvlmsal.metrics.risk_coverage import tied
from lvlmsal.statistics.calibration import fit_platt
from lvlmsal.statistics.logistic import Logistic

FALSE_ALARMS: Final = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of right mentions that may be flagged, for which thresholds are kept."""

PRECISIONS: Final = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of flagged mentions that shall be wrong, likewise."""


@dataclass(frozen=True, kw_only=True)
class Regression(Fit):
    """What labels of a model's own answers have made of a detector.

    Attributes:
        weights: of the standardized features.
        offset: of the logit.
        slope: of Platt's sigmoid, which makes a chance of the logit.
        shift: its offset.
        false_alarms: threshold by the share of right mentions that it flags.
        precisions: threshold by the share of wrong ones among those that it flags, as far as one
            was reached.
        wrong: how many of the mentions were wrong.
    """

    kind: ClassVar[str] = "regression"

    weights: tuple[float, ...]
    offset: float
    slope: float
    shift: float
    false_alarms: dict[str, float]
    precisions: dict[str, float]
    wrong: int

    @classmethod
    def fitted(
        cls, detector: Detector, made: Logistic, others: Tensor, wrong: Tensor, answers: int
    ) -> Self:
        """Keep a regression with what it is worth on images that it has not seen.

        Args:
            detector: on whose features it is fitted.
            made: the regression on all mentions.
            others: the logit of each mention under a regression on other images, shape (N,).
            wrong: labels, shape (N,).
            answers: how many there are.
        """
        platt = fit_platt(others, wrong)
        chances = platt(others).clamp(max=LARGEST)
        return cls(
            **cls.described(detector, made.mean, made.deviation),
            weights=tuple(map(short, made.weights.tolist())),
            offset=short(made.offset),
            slope=short(platt.slope),
            shift=short(platt.offset),
            false_alarms={
                str(share): short(threshold_for_false_alarms(chances[~wrong], share))
                for share in FALSE_ALARMS
            },
            precisions={
                str(share): short(threshold)
                for share in PRECISIONS
                if (threshold := threshold_for_precision(chances, wrong, share)) is not None
            },
            mentions=len(wrong),
            wrong=int(wrong.sum()),
            answers=answers,
        )

    def contributions(self, features: Tensor) -> Tensor:
        """Weighted features; the offset is shared evenly among them."""
        count = len(self.weights)
        weighted = self.standardized(features) * features.new_tensor(self.weights)
        return weighted + self.offset / count

    def risk(self, scores: Tensor) -> Tensor:
        """The chance that a mention is wrong, calibrated on images that the fit had not seen."""
        return torch.sigmoid(self.slope * scores + self.shift).clamp(max=LARGEST)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        own = ("weights", "offset", "slope", "shift", "false_alarms", "precisions", "wrong")
        values = {name: getattr(self, name) for name in own}
        return {**super().to_dict(), **values, "weights": list(self.weights)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` has made.

        Raises:
            ValueError: something is missing, or of another kind.
        """
        common = cls.parsed(values)
        try:
            found = cls(
                **common,
                weights=tuple(map(float, values["weights"])),
                offset=float(values["offset"]),
                slope=float(values["slope"]),
                shift=float(values["shift"]),
                false_alarms={str(k): float(v) for k, v in values["false_alarms"].items()},
                precisions={str(k): float(v) for k, v in values["precisions"].items()},
                wrong=int(values["wrong"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"an entry is not whole: {error!r}") from error
        numbers = (*found.weights, found.offset, found.slope, found.shift)
        if len(found.weights) != len(found.features) or not all(map(math.isfinite, numbers)):
            raise ValueError(f"{found.detector}: expected a finite weight for each column")
        return found


def threshold_for_false_alarms(right: Tensor, share: float) -> float:
    """The least threshold that flags at most a share of right mentions.

    Args:
        right: risks of the right mentions.
        share: of them that may be flagged.

    >>> threshold_for_false_alarms(torch.tensor([0.1, 0.2, 0.3, 0.4]), 0.25) > 0.3
    True
    """
    ordered = right.sort(descending=True).values
    allowed = int(share * len(ordered) + 1e-9)
    if allowed >= len(ordered):
        return 0.0
    return min(1.0, float(ordered[allowed]) + 1e-6)


def threshold_for_precision(risks: Tensor, wrong: Tensor, share: float) -> float | None:
    """The least threshold from which on a share of what is flagged is wrong.

    Args:
        risks: of all mentions.
        wrong: labels.
        share: of flagged mentions that are wrong.

    Returns:
        None where no threshold does it.

    >>> risks, wrong = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0, 1, 0, 1]).bool()
    >>> round(threshold_for_precision(risks, wrong, 0.6), 3)
    0.2
    """
    found = (
        value
        for value in tied(risks)[0].tolist()
        if float(wrong[risks >= value].double().mean()) >= share
    )
    return next(found, None)
