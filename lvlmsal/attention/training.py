"""Models in training mode, whose passes are not always what they would be in evaluation."""

from __future__ import annotations

from torch import nn

from lvlmsal.adapters import ModelAdapter
from lvlmsal.errors import UnsupportedError


def check_mode(adapter: ModelAdapter, *, recorded: bool) -> None:
    """Refuse passes that training mode makes random, or runs once more behind the scenes.

    Args:
        adapter: of the model.
        recorded: whether the pass is recorded; else its attention is edited.

    Raises:
        UnsupportedError: gradient checkpointing is on, or dropout in a recorded pass.
    """
    # Each by itself: adapters that are put into a model in evaluation are in training mode.
    modules = [module for module in adapter.decoder.modules() if module.training]
    if any(getattr(module, "gradient_checkpointing", False) for module in modules):
        raise UnsupportedError(
            "this model is in training mode with gradient checkpointing, which drops the KV cache "
            "and runs layers once more in the backward pass, outside of edits and recordings: call "
            "model.eval() first, or model.gradient_checkpointing_disable()"
        )
    if recorded and (rate := _dropout(adapter, modules)):
        raise UnsupportedError(
            f"this model is in training mode with a dropout of {rate}, so what it is recorded to "
            f"attend to would be random: call model.eval() first"
        )


def _dropout(adapter: ModelAdapter, modules: list[nn.Module]) -> float:
    """The highest rate in a decoder: of its modules, and of what it drops without one."""
    rates = [module.p for module in modules if isinstance(module, nn.modules.dropout._DropoutNd)]
    # The decoder's own modules drop at rates of its config; those put into them do not.
    own = {id(module) for module in (adapter.decoder, *adapter.layers, *adapter.attention_modules)}
    if any(id(module) in own for module in modules):
        named = [value for name, value in vars(adapter.text_config).items() if "drop" in name]
        rates += [value for value in named if type(value) in (int, float)]  # use_dropout is a bool
    return max([0.0, *rates])
