"""Functions from outside that methods ask about an image: its objects, what fits a text, where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.evidence.annotations import Annotations
    from lvlmsal.evidence.base import (
        Box,
        Detector,
        Evidence,
        ObjectLister,
        Relevance,
        RelevanceMap,
        TextScorer,
    )
    from lvlmsal.evidence.blip_matching import BlipMatching
    from lvlmsal.evidence.file import FileEvidence
    from lvlmsal.evidence.object_detection import ObjectDetection
    from lvlmsal.evidence.opening import open_evidence
    from lvlmsal.evidence.stand_in import StandIn
    from lvlmsal.evidence.zero_shot_detection import ZeroShotDetection

__all__ = [
    "Annotations",
    "BlipMatching",
    "Box",
    "Detector",
    "Evidence",
    "FileEvidence",
    "ObjectDetection",
    "ObjectLister",
    "Relevance",
    "RelevanceMap",
    "StandIn",
    "TextScorer",
    "ZeroShotDetection",
    "open_evidence",
]

# Where each name is defined; a test compares it with the imports above and the registries.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Annotations": ".annotations",
        "BlipMatching": ".blip_matching",
        "Box": ".base",
        "Detector": ".base",
        "Evidence": ".base",
        "FileEvidence": ".file",
        "ObjectDetection": ".object_detection",
        "ObjectLister": ".base",
        "Relevance": ".base",
        "RelevanceMap": ".base",
        "StandIn": ".stand_in",
        "TextScorer": ".base",
        "ZeroShotDetection": ".zero_shot_detection",
        "open_evidence": ".opening",
    },
)
