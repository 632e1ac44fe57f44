"""Regressions on a feature for each unit or head of a model, fitted on labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lvlmsal.attention.layers import LayerSpec
from lvlmsal.detection.base import ReadingDetector, Row
from lvlmsal.detection.columns import Columns
from lvlmsal.registry import DETECTORS


@dataclass(frozen=True)
class _Probe(ReadingDetector):
    """A regression on everything that a reading has of a token."""

    supervised: ClassVar[bool] = True

    @property
    def feature_names(self) -> tuple[str, ...]:
        """None: they are numbered."""
        return ()

    def features(self, columns: Columns) -> Tensor:
        """Layer by layer, unit by unit."""
        return self.read(columns).flatten(-2)


@DETECTORS.register("hidden-state-probe")
@dataclass(frozen=True)
class HiddenStateProbe(_Probe):
    """Logistic regression on the state of the token's own row.

    SAPLMA takes a small network and the last token of a statement; a probe of each token is linear
    in later work. A feature is a unit of the residual stream, so hundreds of labels are few.

    Args:
        layers: whose states are taken, the last but one by default.
    """

    layers: LayerSpec = (-2,)

    summary: ClassVar[str] = "logistic regression on a hidden state, from labels"
    paper: ClassVar[str] = "SAPLMA: The Internal State of an LLM Knows When It's Lying (2023)"
    url: ClassVar[str] = "https://arxiv.org/abs/2304.13734"
    row: ClassVar[Row] = "own"
    reading: ClassVar[str] = "state"


@DETECTORS.register("lookback-lens")
@dataclass(frozen=True)
class LookbackLens(_Probe):
    """Logistic regression on the lookback ratio of each head, as published.

    `lookback` is their mean, which needs no label.

    Args:
        layers: whose heads are taken; all by default.
    """

    layers: LayerSpec = None

    summary: ClassVar[str] = "logistic regression on the lookback ratios of all heads, from labels"
    paper: ClassVar[str] = "Lookback Lens (EMNLP 2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2407.07071"
    reading: ClassVar[str] = "lookback"
