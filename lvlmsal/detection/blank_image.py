"""A detector that asks the model once more, about a blank image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lvlmsal.detection.base import Detector
from lvlmsal.detection.columns import Columns, Need
from lvlmsal.registry import DETECTORS


@DETECTORS.register("blank-image")
@dataclass(frozen=True)
class BlankImage(Detector):
    """q / (p + q), with the token's probability p, and q where the images are blank.

    That is the sigmoid of log q - log p: a half where the image tells nothing, and little where it
    makes the token more probable. The answer is read behind the same prompt with images of the mean
    color, so that the text before a word is the same in both.
    """

    summary: ClassVar[str] = "whether a blank image would do for the token"
    paper: ClassVar[str] = "M3ID (CVPR 2024), as a score of tokens"
    url: ClassVar[str] = "https://arxiv.org/abs/2403.14003"
    passes: ClassVar[str] = "1 forward"

    @property
    def needs(self) -> tuple[Need, ...]:
        """Both log-probabilities."""
        return Need("log_probability"), Need("blank_log_probability")

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        gain = columns["log_probability"].double() - columns["blank_log_probability"].double()
        return torch.sigmoid(-gain)[..., None]
