"""Edits of a model while it decodes: one file a method."""

from lvlmsal.interventions.base import (
    AttentionIntervention,
    HiddenStateIntervention,
    Intervention,
    LogitsIntervention,
)

__all__ = [
    "AttentionIntervention",
    "HiddenStateIntervention",
    "Intervention",
    "LogitsIntervention",
]
