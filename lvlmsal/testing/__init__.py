"""What authors of plugins test theirs with: conformance checks and tiny random models."""

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
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

# The kit for metrics imports torchmetrics, which the others need not wait for.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "check_adapter": ".adapter",
        "check_decoder": ".decoder",
        "check_intervention": ".intervention",
        "check_metric": ".metric",
        "tiny_inputs": ".tiny",
        "tiny_lvlm": ".tiny",
        "tiny_model": ".tiny",
    },
)
