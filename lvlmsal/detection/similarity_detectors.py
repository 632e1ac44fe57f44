"""Detectors that ask how like a row is to what the prompt holds of its token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lvlmsal.attention.layers import LayerSpec
from lvlmsal.detection.base import ReadingDetector
from lvlmsal.detection.columns import Columns, Need
from lvlmsal.registry import DETECTORS


@dataclass(frozen=True)
class _Weighed(ReadingDetector):
    """Base of w times one number plus 1 - w times another one.

    Args:
        weight: w.
    """

    weight: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must be from 0 to 1, got {self.weight}")

    def weighed(self, one: Tensor, other: Tensor) -> Tensor:
        """W one + (1 - w) other."""
        return self.weight * one + (1 - self.weight) * other


@DETECTORS.register("glsim")
@dataclass(frozen=True)
class GLSim(_Weighed):
    """(1 - s) / 2 of a global and a local similarity, s = w g + (1 - w) l.

    g is the cosine of the row that predicts the token and the last row of the prompt, and l the
    mean cosine of that row and the 32 visual tokens that would most likely say the token. The paper
    takes layers 31 and 32 of 32, chosen on its test set, of which the latter is normed and the
    former is not; here all are of one layer, and the lens has the final norm.

    Args:
        layers: behind which states are compared; the last but one, which is the paper's 31.
        weight: w.
    """

    layers: LayerSpec = (-2,)

    summary: ClassVar[str] = "likeness to the prompt as a whole and to the patches of the word"
    paper: ClassVar[str] = "GLSim: Detecting Object Hallucinations in LVLMs (NeurIPS 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2508.19972"
    reading: ClassVar[str] = "grounded_similarity"

    @property
    def needs(self) -> tuple[Need, ...]:
        """Both similarities."""
        return Need("prompt_similarity", self.layers), *super().needs

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        whole = columns[Need("prompt_similarity", self.layers)].double().mean(-1)
        score = self.weighed(whole, self.read(columns).mean(-1))
        return (1 - score[..., None]) / 2


@DETECTORS.register("instruction-lens")
@dataclass(frozen=True)
class InstructionLens(_Weighed):
    """sigmoid(-s), s = w a + (1 - w) b, of what the question already says of the token.

    a is the largest probability of the token at a token of the question, read off with flattened
    logits, times the local similarity of `glsim`; b is how near the row lies to the part of the
    question that would say the token, times how probable the token is there
    (`lvlmsal.detection.questions`). The paper picks layers for each model; here all are of one
    place, and the lens has the final norm.

    Args:
        layers: that are averaged; around the paper's 22 and 24 of 32.
        weight: w.
    """

    layers: LayerSpec = "0.6:0.8"

    summary: ClassVar[str] = "whether the question holds the token, and the row agrees with it"
    paper: ClassVar[str] = "Instruction Lens Score (ICML 2026)"
    url: ClassVar[str] = "https://arxiv.org/abs/2605.12258"
    reading: ClassVar[str] = "question_lens"

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the question holds, and the local similarity."""
        others = ("grounded_similarity", "question_fit")
        return *super().needs, *(Need(name, self.layers) for name in others)

    def features(self, columns: Columns) -> Tensor:
        """See the class."""
        local = columns[Need("grounded_similarity", self.layers)].double()
        context = columns[Need("question_fit", self.layers)].double()
        score = self.weighed(self.read(columns).exp() * local, context)
        return torch.sigmoid(-score.mean(-1))[..., None]
