"""Which adapter belongs to a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from lvlmsal.adapters.base import GUIDE, ModelAdapter
from lvlmsal.adapters.refused import refusal
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
        UnsupportedError: No adapter is registered for it, it cannot be done right, or it cannot be
            unwrapped.
    """
    inner = unwrapped(model)
    classes = [cls.__name__ for cls in type(inner).__mro__ if issubclass(cls, PreTrainedModel)]
    names = [*classes, *(getattr(inner.config, "architectures", None) or ())]
    return adapter_class(names, inner.config)(inner, processor)


def adapter_class(names: Sequence[str], config: PreTrainedConfig) -> type[ModelAdapter]:
    """The adapter of an architecture, by the first of its names that is known.

    Several families may share a class of transformers. Their adapters are registered as
    ``"Class/kind"``, and :meth:`ModelAdapter.takes` chooses by the config.

    Args:
        names: Of classes of transformers.
        config: Of the model.

    Raises:
        UnsupportedError: There is none; it says why, where that is known.
    """
    said = refusal({"architectures": list(names)}, str(getattr(config, "_name_or_path", "")))
    if said:
        raise UnsupportedError(said)
    known = ADAPTERS.names()
    for name in names:
        kinds = [key for key in known if key.startswith(f"{name}/")]
        for key in [*kinds, *([name] if name in known else ())]:
            found = ADAPTERS.get(key)
            if found.takes(config):
                return found
    raise _unknown(names[0] if names else f"of model type {config.model_type}")


def _unknown(name: str) -> UnsupportedError:
    """Error for an architecture without an adapter: it lists the known ones and says what to do."""
    known = ", ".join(ADAPTERS.names())
    return UnsupportedError(
        f"no adapter for the architecture {name!r}. Known: {known}. "
        f"{GUIDE} of the lvlmsal repository shows how to write one."
    )
