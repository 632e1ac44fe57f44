"""Guided decoding: words that a detector finds risky are replaced before they are said."""

from lvlmsal.decoders.guided.beams import GuidedBeam
from lvlmsal.decoders.guided.decoder import Guided

__all__ = ["Guided", "GuidedBeam"]
