"""A detector that is fitted on labels: how sure the model was at the end, and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from lvlmsal.detection.base import Detector
from lvlmsal.detection.columns import Columns, Need
from lvlmsal.registry import DETECTORS

_BANDS: Final = ("0.0:0.25", "0.25:0.5", "0.5:0.75", "0.75:1.0")
_GROUPS: Final = ("attention_image", "attention_prompt", "attention_output")
_FEATURES: Final[dict[str, tuple[str, ...]]] = {
    "confidence": ("minus logit p", "log(1 - p)", "log entropy", "minus margin"),
    "lens": tuple(f"log lens of {band}" for band in _BANDS),
    "attention": tuple(f"minus {group}" for group in _GROUPS),
    "position": ("log position",),
}

_CONTROL: Final = ("confidence", "position")

_LEAST: Final = 1e-6  # nats; an entropy of 0 has no logarithm


@DETECTORS.register("ensemble")
@dataclass(frozen=True)
class Ensemble(Detector):
    """Logistic regression on some columns of one pass, fitted on labeled answers of the model.

    ``confidence`` has the forms of p in which right words are distinguished, too: a regression on
    the raw log-probability, which piles up at 0, flatters whatever it is compared with. ``lens`` is
    the mean log lens of the predicting row in each quarter of the depth. ``attention`` are the
    shares of the image, the question and the answer so far, mean over heads and layers;
    ``position`` is apart from the rest, for it says where a word stands and not what it rests on.

    Args:
        parts: of these columns.
    """

    parts: Sequence[str] = ("confidence", "lens")

    summary: ClassVar[str] = "logistic regression on confidence and inner layers, from labels"
    paper: ClassVar[str] = "this library, docs/detection.md; MetaToken (2024) is a relative"
    url: ClassVar[str] = "https://arxiv.org/abs/2405.19186"
    supervised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        wrong = [part for part in self.parts if part not in _FEATURES]
        if wrong or not self.parts or isinstance(self.parts, str):
            raise ValueError(f"parts must be a list of {', '.join(_FEATURES)}, got {self.parts!r}")
        object.__setattr__(self, "parts", [str(part) for part in self.parts])

    @property
    def streams(self) -> bool:  # type: ignore[override]  # the options decide
        """Whether it can judge candidates: without attention."""
        return "attention" not in self.parts

    @property
    def control(self) -> Detector | None:
        """Confidence and position, which nobody has to look inside a model for."""
        control = Ensemble(_CONTROL)
        return None if list(self.parts) == control.parts else control

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of all parts, in their order."""
        return tuple(name for part in self.parts for name in _FEATURES[part])

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the parts read."""
        by_part = {
            "confidence": [Need("odds"), Need("entropy"), Need("margin")],
            "lens": [Need("row_lens", band) for band in _BANDS],
            "attention": [Need(group) for group in _GROUPS],
            "position": [Need("position")],
        }
        return tuple(need for part in self.parts for need in by_part[part])

    def features(self, columns: Columns) -> Tensor:
        """All parts, not scaled."""
        found: list[Tensor] = []
        for part in self.parts:
            if part == "confidence":
                odds = columns["odds"].double()
                entropy = columns["entropy"].double().clamp_min(_LEAST).log()
                rest = torch.nn.functional.logsigmoid(-odds)
                found += [-odds, rest, entropy, -columns["margin"].double()]
            elif part == "lens":
                found += [columns[Need("row_lens", band)].double().mean(-1) for band in _BANDS]
            elif part == "attention":
                found += [-columns[group].double().mean((-2, -1)) for group in _GROUPS]
            else:
                found.append(columns["position"].double().log1p())
        return torch.stack(found, dim=-1)
