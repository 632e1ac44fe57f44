"""Detectors that read the distribution which a token was chosen from, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lvlmsal.detection.base import Detector
from lvlmsal.detection.columns import Columns, Need
from lvlmsal.registry import DETECTORS


@DETECTORS.register("log-probability")
@dataclass(frozen=True)
class LogProbability(Detector):
    """1 - p, the probability that the model gave to all other tokens together.

    It ranks as -log p does, the score that every comparison starts with. It is computed from
    log p - log(1 - p), so that tokens of which the model is all but sure are told apart, too.
    """

    summary: ClassVar[str] = "one minus the probability of the token"
    paper: ClassVar[str] = "Language Models (Mostly) Know What They Know (2022)"
    url: ClassVar[str] = "https://arxiv.org/abs/2207.05221"
    streams: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[Need, ...]:
        """The log-odds of the token."""
        return (Need("odds"),)

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        return torch.sigmoid(-columns["odds"].double())[..., None]


@DETECTORS.register("entropy")
@dataclass(frozen=True)
class Entropy(Detector):
    """1 - exp(-H) of the entropy H of the distribution, in nats.

    Unlike the probability it does not ask which token was chosen. 1 - exp(-H) keeps the order and
    lies in [0, 1): of k equally probable tokens it is 1 - 1/k.
    """

    summary: ClassVar[str] = "entropy of the distribution that the token was chosen from"
    paper: ClassVar[str] = "Uncertainty Estimation in Autoregressive Structured Prediction (2021)"
    url: ClassVar[str] = "https://arxiv.org/abs/2002.07650"
    streams: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[Need, ...]:
        """The entropy."""
        return (Need("entropy"),)

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        return -torch.expm1(-columns["entropy"].double())[..., None]


@DETECTORS.register("margin")
@dataclass(frozen=True)
class Margin(Detector):
    """1 - (p1 - p2), with the two largest probabilities of the distribution."""

    summary: ClassVar[str] = "how close the second candidate comes to the first"
    paper: ClassVar[str] = "Active Hidden Markov Models for Information Extraction (2001)"
    url: ClassVar[str] = "https://doi.org/10.1007/3-540-44816-0_31"
    streams: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[Need, ...]:
        """The margin."""
        return (Need("margin"),)

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        return 1 - columns["margin"].double()[..., None]


@DETECTORS.register("perplexity")
@dataclass(frozen=True)
class Perplexity(Detector):
    """1 - exp(mean log p) over the answer up to and including the token.

    It is a score of answers, made into one of tokens: how sure the model was so far.
    """

    summary: ClassVar[str] = "mean log-probability of the answer so far"
    paper: ClassVar[str] = "Perplexity: a measure of the difficulty of speech recognition (1977)"
    url: ClassVar[str] = "https://doi.org/10.1121/1.2016299"

    @property
    def needs(self) -> tuple[Need, ...]:
        """The log-probabilities of all tokens."""
        return (Need("log_probability"),)

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        logs = columns["log_probability"].double()
        count = torch.arange(1, logs.shape[-1] + 1, dtype=torch.float64)
        return -torch.expm1(logs.cumsum(-1) / count)[..., None]


@DETECTORS.register("position")
@dataclass(frozen=True)
class Position(Detector):
    """How far in the answer a token stands, t / (t + 50): a baseline, not a detector.

    Models err more toward the end of long answers, so whatever grows with the length of the
    context tells wrong words from right ones a little. A score that is no better than this one has
    read the position.
    """

    half: int = 50

    summary: ClassVar[str] = "baseline: position in the answer"
    paper: ClassVar[str] = "HaloProbe (2026), on position as a confounder"
    url: ClassVar[str] = "https://arxiv.org/abs/2604.06165"

    def __post_init__(self) -> None:
        if self.half < 1:
            raise ValueError(f"half must be at least 1, got {self.half}")

    @property
    def needs(self) -> tuple[Need, ...]:
        """The position."""
        return (Need("position"),)

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        position = columns["position"].double()
        return (position / (position + self.half))[..., None]
