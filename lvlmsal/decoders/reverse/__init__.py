"""REVERSE: phrases that the model itself marks as doubtful are taken back and said again."""

from lvlmsal.decoders.reverse.decoder import Reverse

__all__ = ["Reverse"]
