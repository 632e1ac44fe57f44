"""How high a number is for a model: risks as shares of the model's own mentions below it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor

from lvlmsal.detection.base import Detector
from lvlmsal.detection.fits import LARGEST, Fit, short

KNOTS: Final = 199
"""Scores that a scaling keeps: those below which 0.5 %, 1 %, ... of the own mentions lie."""


@dataclass(frozen=True, kw_only=True)
class Scaling(Fit):
    """What a detector makes of a model's own mentions, of which nobody has said what is wrong.

    Attributes:
        scores: ascending, evenly spaced quantiles of the score; see `KNOTS`.
        weights: of the standardized features in the score; all alike by default.
    """

    kind: ClassVar[str] = "scaling"

    scores: tuple[float, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.weights:
            object.__setattr__(self, "weights", (1.0,) * len(self.features))

    @classmethod
    def fitted(cls, detector: Detector, features: Tensor, answers: int) -> Self:
        """Scale a detector on its features of own mentions, shape (mentions, features).

        Raises:
            ValueError: there are fewer than two of them, or a feature is the same for all.
        """
        values = features.double()
        if len(values) < 2:
            raise ValueError(f"a scaling needs at least 2 mentions, got {len(values)}")
        mean, deviation = values.mean(0), values.std(0)
        if bool((deviation == 0).any()):
            same = [n for n, d in zip(detector.feature_names, deviation, strict=True) if d == 0]
            raise ValueError(f"{', '.join(same)} of {detector.name}: the same for all mentions")
        weights = detector.weights(values)
        scores = ((values - mean) / deviation * weights).sum(-1)
        shares = torch.arange(1, KNOTS + 1, dtype=torch.float64) / (KNOTS + 1)
        return cls(
            **cls.described(detector, mean, deviation),
            weights=tuple(map(short, weights.tolist())),
            scores=tuple(map(short, torch.quantile(scores, shares).tolist())),
            mentions=len(values),
            answers=answers,
        )

    def contributions(self, features: Tensor) -> Tensor:
        """The weighted features in standard deviations, which add up to the score."""
        return self.standardized(features) * features.new_tensor(self.weights)

    def risk(self, scores: Tensor) -> Tensor:
        """The share of own mentions that score lower, from 0 to `LARGEST`; ties count half.

        Between two knots it is a straight line, beyond the last ones it nears 0 and 1.
        """
        knots = scores.new_tensor(self.scores)
        count = len(knots)
        values = scores.contiguous()
        low = torch.searchsorted(knots, values)
        high = torch.searchsorted(knots, values, right=True)
        left, right = knots[(low - 1).clamp_min(0)], knots[low.clamp_max(count - 1)]
        between = ((values - left) / (right - left)).clamp(0, 1)
        # knots with this very score are low, ..., high - 1 (from 0): their mean is its place
        place = torch.where(high > low, (low + 1 + high) / 2, low + between)
        spread = (knots[-1] - knots[0]) / count or knots.new_tensor(1.0)
        above = count + 1 - torch.exp((knots[-1] - values) / spread)
        below = torch.exp((values - knots[0]) / spread)
        place = torch.where(low == count, above, torch.where(high == 0, below, place))
        found = (place / (count + 1)).clamp(0, LARGEST)
        return torch.where(values.isnan(), values, found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        weighted = {} if set(self.weights) == {1.0} else {"weights": list(self.weights)}
        return {**super().to_dict(), **weighted, "scores": list(self.scores)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` has made.

        Raises:
            ValueError: something is missing, or of another kind.
        """
        parsed = cls.parsed(values)
        weights = tuple(map(float, values.get("weights", [1.0] * len(parsed["features"]))))
        if len(weights) != len(parsed["features"]) or not all(map(math.isfinite, weights)):
            raise ValueError("weights must be finite numbers, one for each column")
        return cls(**parsed, weights=weights, scores=_ascending(values.get("scores", ())))


def _ascending(scores: Sequence[Any]) -> tuple[float, ...]:
    values = tuple(float(score) for score in scores)
    if not values or any(not math.isfinite(value) for value in values):
        raise ValueError("scores must be finite numbers, and at least one")
    if list(values) != sorted(values):
        raise ValueError("scores must be in ascending order")
    return values
