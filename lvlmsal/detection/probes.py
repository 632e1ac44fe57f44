"""Regressions on a feature for each unit or head of a model, fitted on labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lvlmsal.attention.layers import LayerSpec
from lvlmsal.detection.base import ReadingDetector, Row
from lvlmsal.detection.columns import READINGS, Columns
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
        return self.read(columns).flatten(-len(READINGS[self.reading].shape))


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


@DETECTORS.register("dhcp")
@dataclass(frozen=True)
class DHCP(_Probe):
    """Logistic regression on the attention of each head to each part of the image, after DHCP.

    DHCP flattens the attention to every visual token in all heads and layers, averaged over the
    tokens of a yes-no answer, and fits a network with a hidden layer of 128 on it; images have one
    size, so that there are as many visual tokens in each. Here it is the row that predicts the
    judged token, so that words are judged; attention is summed over 16 runs of equally many visual
    tokens in the order of the sequence, so that images of any size have the same features, and
    there are hundreds of them, not half a million. Of one image in one piece that is top to bottom;
    where there are tiles, several images or frames of a video, a run goes on from one to the next,
    and a feature stands for another place if their number is another. The fit is linear, as there
    are hundreds of labels. On answers to yes-no questions a fit may learn which answer was given in
    place of which is wrong. Without an image nothing is judged.

    Args:
        layers: whose heads are taken; all by default.
    """

    layers: LayerSpec = None

    summary: ClassVar[str] = "logistic regression on where all heads look in the image, from labels"
    paper: ClassVar[str] = "DHCP (ACM MM 2025), linear and of words"
    url: ClassVar[str] = "https://arxiv.org/abs/2411.18659"
    reading: ClassVar[str] = "attention_cells"
