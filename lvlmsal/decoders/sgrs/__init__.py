"""SGRS: candidates are rejected whose saliency falls below that of the recent context."""

from lvlmsal.decoders.sgrs.decoder import SGRS

__all__ = ["SGRS"]
