"""VisSink: takes attention from sink tokens and gives it to the rest of the image."""

from lvlmsal.interventions.vissink.intervention import VisSink

__all__ = ["VisSink"]
