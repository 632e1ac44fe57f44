"""HALC: the last token of a judged word is decided again under crops of the image."""

from lvlmsal.decoders.halc.beams import HALCBeam
from lvlmsal.decoders.halc.decoder import HALC

__all__ = ["HALC", "HALCBeam"]
