"""Edits of the attention while a model decodes: one file a method."""

from lvlmsal.interventions.base import AttentionIntervention, Intervention

__all__ = ["AttentionIntervention", "Intervention"]
