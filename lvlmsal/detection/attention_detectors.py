"""Detectors that read where the model looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lvlmsal.attention.layers import LayerSpec
from lvlmsal.detection.base import ReadingDetector, Row
from lvlmsal.detection.columns import Columns, Need
from lvlmsal.registry import DETECTORS


@DETECTORS.register("svar")
@dataclass(frozen=True)
class SVAR(ReadingDetector):
    """1 - the attention to the image, mean over heads and layers of the middle.

    The paper sums over layers 5 to 17 of 32, which are these fractions of the depth; a mean ranks
    alike. Its supervised version is not built in.

    Args:
        layers: that are averaged.
    """

    layers: LayerSpec = "0.16:0.57"

    summary: ClassVar[str] = "attention to the image in layers of the middle"
    paper: ClassVar[str] = "Devils in Middle Layers of LVLMs (CVPR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2411.16724"
    reading: ClassVar[str] = "attention_image"

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        return 1 - self.read(columns).mean((-2, -1))[..., None]


@DETECTORS.register("pas")
@dataclass(frozen=True)
class PAS(ReadingDetector):
    """The attention to the answer so far, mean over heads: the prelim attention score.

    It grows with the length of the answer; compare it with `position`.

    Args:
        layers: of which the mean is taken; the first one is typical.
    """

    layers: LayerSpec = (0,)

    summary: ClassVar[str] = "attention to the answer so far"
    paper: ClassVar[str] = "Prelim Attention Score (2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2511.11502"
    reading: ClassVar[str] = "attention_output"

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        return self.read(columns).mean((-2, -1))[..., None]


@DETECTORS.register("lookback")
@dataclass(frozen=True)
class Lookback(ReadingDetector):
    """1 - the mean lookback ratio, over heads and layers.

    The ratio of a head is its mean attention to a visual token, of that and its mean attention to
    a new one: the answer so far and the last token of the prompt. The paper fits a logistic
    regression on the ratios of all heads; this is their mean, which needs no label.

    Args:
        layers: that are averaged.
    """

    layers: LayerSpec = None

    summary: ClassVar[str] = "mean attention to the image against that to new tokens"
    paper: ClassVar[str] = "Lookback Lens (EMNLP 2024), without its regression"
    url: ClassVar[str] = "https://arxiv.org/abs/2407.07071"
    reading: ClassVar[str] = "lookback"

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        return 1 - self.read(columns).mean((-2, -1))[..., None]


@DETECTORS.register("rauq")
@dataclass(frozen=True)
class RAUQ(ReadingDetector):
    """1 - c_t, a confidence that is handed on by attention to the token before.

    In each layer, with the head that attends most to the previous token, on average over the
    answer::

        c_t = a p_t + (1 - a) A[head][t, t - 1] c_(t - 1),   c_1 = p_1

    The layer of least confidence counts. The paper takes the mean of -log c over an answer.

    Args:
        alpha: a.
        layers: the middle third.
    """

    layers: LayerSpec = "0.33:0.67"
    alpha: float = 0.2

    summary: ClassVar[str] = "confidence handed on by attention to the previous token"
    paper: ClassVar[str] = "Uncertainty-Aware Attention Heads: RAUQ (2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2505.20045"
    row: ClassVar[Row] = "own"
    reading: ClassVar[str] = "attention_previous"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, got {self.alpha}")

    @property
    def needs(self) -> tuple[Need, ...]:
        """Log-probabilities, and attention to the token before."""
        return Need("log_probability"), *super().needs

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        chances = columns["log_probability"].double().exp()
        weights = self.read(columns)  # (..., T, layers, heads)
        # The first token has none before it that is part of the answer.
        means = weights[..., 1:, :, :].mean(-3) if weights.shape[-3] > 1 else weights[..., 0, :, :]
        heads = means.argmax(-1)[..., None, :, None]
        picked = weights.gather(-1, heads.expand(*weights.shape[:-1], 1)).squeeze(-1)
        handed = chances[..., 0, None].expand_as(picked[..., 0, :])
        found = [handed]
        for at in range(1, chances.shape[-1]):
            handed = self.alpha * chances[..., at, None] + (1 - self.alpha) * (
                picked[..., at, :] * handed
            )
            found.append(handed)
        return 1 - torch.stack(found, dim=-2).amin(-1, keepdim=True)
