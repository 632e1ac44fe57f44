"""What authors of plugins test theirs with: conformance checks and tiny random models."""

from lvlmsal.testing.adapter import check_adapter
from lvlmsal.testing.decoder import check_decoder
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.metric import check_metric
from lvlmsal.testing.tiny import tiny_inputs, tiny_lvlm, tiny_model

__all__ = [
    "check_adapter",
    "check_decoder",
    "check_intervention",
    "check_metric",
    "tiny_inputs",
    "tiny_lvlm",
    "tiny_model",
]
