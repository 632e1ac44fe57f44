"""What is known of a detector's features on one model: from its own answers, or from labels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from torch import Tensor

from lvlmsal.detection.base import Detector
from lvlmsal.registry import options_of

LARGEST: Final = 1 - 1e-6
"""Largest risk, so that a threshold of 1 flags nothing."""


def short(value: float) -> float:
    """A number with as many digits as are worth a line of a file."""
    return float(f"{value:.7g}")


@dataclass(frozen=True, kw_only=True)
class Fit(ABC):
    """How a detector's features become one risk, for one model.

    Attributes:
        kind: what files call it.
        detector: its name.
        options: its options.
        features: names of its features, in their order.
        mean: of each feature over the mentions.
        deviation: standard deviation of each.
        mentions: how many mentions it was made from.
        answers: in how many answers.
    """

    kind: ClassVar[str]

    detector: str
    options: dict[str, Any]
    features: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    mentions: int
    answers: int

    def fits(self, detector: Detector) -> bool:
        """Whether it is one of this detector under these options."""
        named = detector.feature_names
        return (self.detector, self.options) == (detector.name, options_of(detector)) and (
            not named or self.features == named
        )

    def standardized(self, features: Tensor) -> Tensor:
        """Features in standard deviations, shape (tokens..., features)."""
        mean, deviation = (features.new_tensor(v) for v in (self.mean, self.deviation))
        return (features - mean) / deviation

    @abstractmethod
    def contributions(self, features: Tensor) -> Tensor:
        """What each feature adds to the score, shape (tokens..., features)."""

    def score(self, features: Tensor) -> Tensor:
        """One number a token, larger is worse, shape (tokens...)."""
        return self.contributions(features).sum(-1)

    @abstractmethod
    def risk(self, scores: Tensor) -> Tensor:
        """Scores as risks from 0 to `LARGEST`, same shape; nan stays nan."""

    @staticmethod
    def described(detector: Detector, mean: Tensor, deviation: Tensor) -> dict[str, Any]:
        """The arguments that say whose features they are, and how large."""
        return {
            "detector": detector.name,
            "options": options_of(detector),
            "features": detector.feature_names or tuple(map(str, range(len(mean)))),
            "mean": tuple(map(short, mean.tolist())),
            "deviation": tuple(map(short, deviation.tolist())),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        columns = {
            name: {"mean": mean, "deviation": deviation}
            for name, mean, deviation in zip(self.features, self.mean, self.deviation, strict=True)
        }
        return {
            "detector": self.detector,
            "kind": self.kind,
            "options": self.options,
            "columns": columns,
            "mentions": self.mentions,
            "answers": self.answers,
        }

    @classmethod
    @abstractmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` has made."""

    @staticmethod
    def parsed(values: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that every fit has, from plain values.

        Raises:
            ValueError: something is missing, or of another kind.
        """
        try:
            columns = values["columns"]
            found: dict[str, Any] = {
                "detector": str(values["detector"]),
                "options": dict(values["options"]),
                "features": tuple(map(str, columns)),
                "mean": tuple(float(column["mean"]) for column in columns.values()),
                "deviation": tuple(float(column["deviation"]) for column in columns.values()),
                "mentions": int(values["mentions"]),
                "answers": int(values["answers"]),
            }
        except (KeyError, TypeError) as error:
            raise ValueError(f"an entry is not whole: {error!r}") from error
        if not all(math.isfinite(d) and d > 0 for d in found["deviation"]):
            raise ValueError(f"{found['detector']}: deviations must be positive numbers")
        return found
