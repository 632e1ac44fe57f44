"""RITUAL: adds what the model says of a transformed copy of the image."""

from lvlmsal.interventions.ritual.intervention import RITUAL

__all__ = ["RITUAL"]
