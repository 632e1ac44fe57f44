"""A detector that is fitted on what a pass tells of a token besides its states: MetaToken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from lvlmsal.detection.base import Detector
from lvlmsal.detection.columns import Columns, Need
from lvlmsal.registry import DETECTORS

_NAMES: Final = (
    *("relative position", "occurrence", "relative occurrence", "minus attention to the image"),
    *("minus log p", "minus summed log p", "minus mean log p", "entropy", "variation ratio"),
    *("minus margin", "probability difference"),
)


@DETECTORS.register("metatoken")
@dataclass(frozen=True)
class MetaToken(Detector):
    """Logistic regression on position, occurrence, attention to the image and confidence.

    Of the token c at place t of T: t / T; how often it stood there before, and that by t + 1; the
    attention to the image, mean over heads and layers (the paper takes each head); log p(c), its
    sum and its mean so far; entropy; variation ratio 1 - p_max; margin; and p_max - p(c). Position
    and occurrence say where a word stands and not what it rests on: compare with `position` and
    ``repetition``. The paper fits trees, too.
    """

    summary: ClassVar[str] = "logistic regression on position, attention, confidence, from labels"
    paper: ClassVar[str] = "MetaToken (VISAPP 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2405.19186"
    supervised: ClassVar[bool] = True

    @property
    def feature_names(self) -> tuple[str, ...]:
        """In their order."""
        return _NAMES

    @property
    def needs(self) -> tuple[Need, ...]:
        """What they are made of."""
        names = ("position", "occurrence", "attention_image", "log_probability", "entropy")
        return tuple(map(Need, (*names, "margin", "largest")))

    def features(self, columns: Columns) -> Tensor:
        """See the class, not scaled."""
        place = columns["position"].double()
        before = columns["occurrence"].double()
        logs = columns["log_probability"].double()
        largest = columns["largest"].double().exp()
        found = [
            place / place.shape[-1],
            before,
            before / (place + 1),
            -columns["attention_image"].double().mean((-2, -1)),
            -logs,
            -logs.cumsum(-1),
            -logs.cumsum(-1) / (place + 1),
            columns["entropy"].double(),
            1 - largest,
            -columns["margin"].double(),
            largest - logs.exp(),
        ]
        return torch.stack(found, dim=-1)
