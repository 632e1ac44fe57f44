"""Which adapter belongs to a model."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from lvlmsal.adapters.base import GUIDE, ModelAdapter
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


def adapter_for(model: PreTrainedModel, processor: Any | None = None) -> ModelAdapter:
    """Find the adapter of a model by its architecture, and build it.

    Args:
        model: A model with weights.
        processor: Its processor, if there is one.

    Returns:
        The adapter registered under the name of the model's class, of one of its base classes, or
        of an entry of `config.architectures`, in this order.

    Raises:
        UnsupportedError: No adapter is registered for it.
    """
    classes = [cls.__name__ for cls in type(model).__mro__ if issubclass(cls, PreTrainedModel)]
    names = [*classes, *(getattr(model.config, "architectures", None) or ())]
    for name in names:
        if name in ADAPTERS:
            return ADAPTERS.get(name)(model, processor)
    raise unknown_architecture(type(model).__name__)


def unknown_architecture(name: str) -> UnsupportedError:
    """Error for an architecture without an adapter: it lists the known ones and says what to do."""
    known = ", ".join(ADAPTERS.names())
    return UnsupportedError(
        f"no adapter for the architecture {name!r}. Known: {known}. "
        f"{GUIDE} of the lvlmsal repository shows how to write one."
    )
