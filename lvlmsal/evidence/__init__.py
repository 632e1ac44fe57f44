"""Functions from outside that methods ask about an image: its objects, what a text is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.evidence.annotations import Annotations
    from lvlmsal.evidence.base import (
        Evidence,
        ObjectLister,
        Relevance,
        RelevanceMap,
    )
    from lvlmsal.evidence.blip_matching import BlipMatching
    from lvlmsal.evidence.file import FileEvidence
    from lvlmsal.evidence.object_detection import ObjectDetection
    from lvlmsal.evidence.opening import open_evidence
    from lvlmsal.evidence.stand_in import StandIn

__all__ = [
    "Annotations",
    "BlipMatching",
    "Evidence",
    "FileEvidence",
    "ObjectDetection",
    "ObjectLister",
    "Relevance",
    "RelevanceMap",
    "StandIn",
    "open_evidence",
]

# Where each name is defined; a test compares it with the imports above and the registries.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Annotations": ".annotations",
        "BlipMatching": ".blip_matching",
        "Evidence": ".base",
        "FileEvidence": ".file",
        "ObjectDetection": ".object_detection",
        "ObjectLister": ".base",
        "Relevance": ".base",
        "RelevanceMap": ".base",
        "StandIn": ".stand_in",
        "open_evidence": ".opening",
    },
)
