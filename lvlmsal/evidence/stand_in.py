"""Evidence that says the same of every image, for dry runs and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from lvlmsal.evidence.base import (
    Box,
    Detector,
    ObjectLister,
    Relevance,
    RelevanceMap,
    TextScorer,
)
from lvlmsal.registry import EVIDENCE


@EVIDENCE.register("stand-in")
@dataclass(frozen=True)
class StandIn(ObjectLister, RelevanceMap, Detector, TextScorer):
    """Answers everything, and has looked at nothing: what comes of it is no result.

    Objects are two words; relevance rises from left to right, at a similarity of 1. Everything is
    in one box, the middle half of each side, and longer texts have higher scores.
    """

    summary: ClassVar[str] = "says the same of every image; for dry runs and tests"

    def objects(self, image: Image.Image) -> list[tuple[str, float]]:
        """Two words."""
        return [("cat", 1.0), ("dog", 0.9)]

    def relevance(self, image: Image.Image, text: str) -> Relevance:
        """More from left to right."""
        ramp = np.tile(np.linspace(0, 1, 24, dtype=np.float32), (24, 1))
        return Relevance(ramp, 1.0)

    def boxes(self, image: Image.Image, word: str) -> list[Box]:
        """The middle."""
        return [Box(0.25, 0.25, 0.75, 0.75)]

    def scores(self, image: Image.Image, texts: Sequence[str]) -> list[float]:
        """How long each text is."""
        return [float(len(text)) for text in texts]
