"""Which adapter belongs to a model."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from lvlmsal.adapters.base import GUIDE, ModelAdapter
from lvlmsal.adapters.unwrapping import unwrapped
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


def adapter_for(model: nn.Module, processor: Any | None = None) -> ModelAdapter:
    """Find the adapter of a model by its architecture, and build it.

    Args:
        model: A transformers model with weights, or one inside of a PEFT, ``torch.compile``,
            DataParallel or DDP wrapper; see :func:`~lvlmsal.adapters.unwrapping.unwrapped`.
        processor: Its processor, if there is one.

    Returns:
        The adapter registered under the name of the model's class, of one of its base classes, or
        of an entry of `config.architectures`, in this order.

    Raises:
        UnsupportedError: No adapter is registered for it, or it cannot be unwrapped.
    """
    inner = unwrapped(model)
    classes = [cls.__name__ for cls in type(inner).__mro__ if issubclass(cls, PreTrainedModel)]
    names = [*classes, *(getattr(inner.config, "architectures", None) or ())]
    for name in names:
        if name in ADAPTERS:
            return ADAPTERS.get(name)(inner, processor)
    raise unknown_architecture(type(inner).__name__)


def unknown_architecture(name: str) -> UnsupportedError:
    """Error for an architecture without an adapter: it lists the known ones and says what to do."""
    known = ", ".join(ADAPTERS.names())
    return UnsupportedError(
        f"no adapter for the architecture {name!r}. Known: {known}. "
        f"{GUIDE} of the lvlmsal repository shows how to write one."
    )
