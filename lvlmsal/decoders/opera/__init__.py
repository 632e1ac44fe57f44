"""OPERA: beam search with an over-trust penalty that goes back where it was trusted too long."""

from lvlmsal.decoders.opera.decoder import OPERA

__all__ = ["OPERA"]
