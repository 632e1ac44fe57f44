"""Objects of an image, by a detector with a fixed set of classes, such as DETR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from lvlmsal.evidence.base import ObjectLister
from lvlmsal.evidence.from_model import Arrays, ModelEvidence
from lvlmsal.registry import EVIDENCE


@EVIDENCE.register("object-detection")
@dataclass(frozen=True)
class ObjectDetection(ModelEvidence, ObjectLister):
    """Lists the classes that a detector of transformers finds with enough confidence.

    A class counts with its most confident box.

    Args:
        model: a folder or hub id of an `AutoModelForObjectDetection`.
        threshold: least confidence; 0.95 in MARINE.
    """

    model: str = "facebook/detr-resnet-101"
    threshold: float = 0.95

    summary: ClassVar[str] = "classes that a detector finds, such as DETR"
    paper: ClassVar[str] = "End-to-End Object Detection with Transformers (ECCV 2020)"
    url: ClassVar[str] = "https://arxiv.org/abs/2005.12872"
    model_class: ClassVar[str] = "AutoModelForObjectDetection"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be from 0 to 1, got {self.threshold}")

    def objects(self, image: Image.Image) -> list[tuple[str, float]]:
        """See the base class."""
        made = self.kept(image, self.threshold, lambda: self._asked(image))
        return list(zip(made["words"].tolist(), made["scores"].tolist(), strict=True))

    def _asked(self, image: Image.Image) -> Arrays:
        model, processor = self.loaded
        with torch.no_grad():
            output = model(**processor(images=image, return_tensors="pt").to(self.device))
        (found,) = processor.post_process_object_detection(output, threshold=self.threshold)
        best: dict[str, float] = {}
        for label, score in zip(found["labels"].tolist(), found["scores"].tolist(), strict=True):
            word = str(model.config.id2label[label])
            best[word] = max(score, best.get(word, 0.0))
        order = sorted(best, key=lambda word: (-best[word], word))
        return {
            "words": np.array(order, dtype=np.str_),
            "scores": np.array([best[word] for word in order], dtype=np.float32),
        }
