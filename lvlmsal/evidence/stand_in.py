"""Evidence that says the same of every image, for dry runs and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from lvlmsal.evidence.base import ObjectLister, Relevance, RelevanceMap
from lvlmsal.registry import EVIDENCE


@EVIDENCE.register("stand-in")
@dataclass(frozen=True)
class StandIn(ObjectLister, RelevanceMap):
    """Answers everything, and has looked at nothing: what comes of it is no result.

    Objects are two words; relevance rises from left to right, at a similarity of 1.
    """

    summary: ClassVar[str] = "says the same of every image; for dry runs and tests"

    def objects(self, image: Image.Image) -> list[tuple[str, float]]:
        """Two words."""
        return [("cat", 1.0), ("dog", 0.9)]

    def relevance(self, image: Image.Image, text: str) -> Relevance:
        """More from left to right."""
        ramp = np.tile(np.linspace(0, 1, 24, dtype=np.float32), (24, 1))
        return Relevance(ramp, 1.0)
