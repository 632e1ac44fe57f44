"""Where an image shows what a word names, by a detector that is told the word: Grounding DINO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from lvlmsal.evidence.base import Box, Detector
from lvlmsal.evidence.from_model import Arrays, ModelEvidence
from lvlmsal.registry import EVIDENCE


@EVIDENCE.register("zero-shot-detection")
@dataclass(frozen=True)
class ZeroShotDetection(ModelEvidence, Detector):
    """Finds a word with a detector of transformers that is told what to look for.

    Of boxes that are sure enough the surest come first. One that is smaller than ``least_area`` is
    left out, and so is one that is the same as a surer one, by their intersection over union.

    The defaults are those of HALC's public code, which has Grounding DINO from its own package and
    rounds boxes to three places. Its README names a threshold of 0.4.

    Args:
        model: a folder or hub id of an `AutoModelForZeroShotObjectDetection`.
        threshold: least confidence.
        least_area: share of the image that a box covers at least.
        overlap: intersection over union from which on two boxes are one thing.
    """

    model: str = "IDEA-Research/grounding-dino-tiny"
    threshold: float = 0.45
    least_area: float = 0.01
    overlap: float = 0.6

    summary: ClassVar[str] = "boxes of a word by a detector that is told it, such as Grounding DINO"
    paper: ClassVar[str] = "Grounding DINO: Grounded Pre-Training for Open-Set Detection (2023)"
    url: ClassVar[str] = "https://arxiv.org/abs/2303.05499"
    model_class: ClassVar[str] = "AutoModelForZeroShotObjectDetection"

    def __post_init__(self) -> None:
        for name in ("threshold", "least_area", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")

    def boxes(self, image: Image.Image, word: str) -> list[Box]:
        """See the base class."""
        asked = [word, self.threshold]
        made = self.kept(image, asked, lambda: self._asked(image, word))["boxes"]
        return distinct([Box(*box) for box in made.tolist()], self.least_area, self.overlap)

    def _asked(self, image: Image.Image, word: str) -> Arrays:
        model, processor = self.loaded
        given = processor(images=image, text=[[word]], return_tensors="pt").to(self.device)
        with torch.no_grad():
            output = model(**given)
        size = image.height, image.width
        # one word is asked for, so that whatever is found is it
        (found,) = processor.post_process_grounded_object_detection(
            output, threshold=self.threshold, target_sizes=[size]
        )
        scale = torch.tensor([image.width, image.height] * 2)
        places = (found["boxes"].float().cpu() / scale).clamp(0, 1)
        rows = torch.cat([places, found["scores"].float().cpu()[:, None]], dim=1)
        order = rows[:, 4].argsort(descending=True, stable=True)
        return {"boxes": rows[order].numpy().astype(np.float32).reshape(-1, 5)}


def distinct(boxes: list[Box], least_area: float, overlap: float) -> list[Box]:
    """Boxes of different things, in their order.

    >>> first, second = Box(0, 0, 0.5, 0.5), Box(0, 0, 0.5, 0.4)
    >>> distinct([first, second, Box(0, 0, 0.1, 0.05)], 0.01, 0.6) == [first]
    True
    """
    kept: list[Box] = []
    for box in boxes:
        if box.area >= least_area and all(_shared(box, other) <= overlap for other in kept):
            kept.append(box)
    return kept


def _shared(one: Box, other: Box) -> float:
    """Intersection over union; 0 where neither has an area."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    common = max(0.0, width) * max(0.0, height)
    whole = one.area + other.area - common
    return common / whole if whole else 0.0
