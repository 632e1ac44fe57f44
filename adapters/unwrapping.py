"""From what a user hands over to the transformers model inside, which runs and is hooked."""

from __future__ import annotations

import inspect
from typing import Any, cast

from torch import nn
from transformers import GenerationMixin, PreTrainedModel

from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS

ARTICLE = {True: "an", False: "a"}


def unwrapped(model: Any) -> PreTrainedModel:
    """The transformers model inside of PEFT, ``torch.compile``, DataParallel and DDP wrappers.

    The wrappers may be nested. Their passes and their ``generate`` run the model inside, so hooks
    on that model see them all.

    Args:
        model: A transformers model, or one in such wrappers.

    Returns:
        The model itself, never a copy.

    Raises:
        UnsupportedError: It is neither, or its adapter acts outside of the model inside (prompt
            learning). The message names the model to hand over.

    >>> import torch
    >>> from lvlmsal.testing import tiny_model
    >>> model = tiny_model("llava")
    >>> unwrapped(torch.nn.DataParallel(model)) is model
    True
    """
    inner = model
    while not isinstance(inner, PreTrainedModel):
        inner = _inside(inner)
    return inner


def _inside(wrapper: Any) -> Any:
    """What the outermost wrapper holds."""
    if isinstance(wrapper, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return wrapper.module
    if isinstance(wrapper, nn.Module):
        # of torch.compile: the class is torch's own secret, the attribute is documented
        compiled = wrapper._modules.get("_orig_mod")
        if compiled is not None:
            return compiled
        if callable(getattr(type(wrapper), "get_base_model", None)):
            return _adapted(cast(Any, wrapper))
    raise UnsupportedError(_refusal(wrapper))


def _adapted(wrapper: Any) -> Any:
    """The model in a ``peft.PeftModel``, whose layers hold the adapters."""
    for config in wrapper.peft_config.values():
        kind = getattr(config.peft_type, "value", config.peft_type)
        if config.is_prompt_learning:
            raise UnsupportedError(
                f"{kind} puts virtual tokens in front of the prompt that the model inside knows "
                "nothing of, so interventions and saliency would not know where images stand: "
                "take an adapter that changes layers, such as LoRA"
            )
        if kind == "XLORA" or getattr(config, "alora_invocation_tokens", None):
            raise UnsupportedError(
                f"this {kind} adapter reads the whole input before each pass of the model inside, "
                "and passes of a second stream or of a diagnosis would go past it: take an adapter "
                "that changes layers alone, such as plain LoRA"
            )
    return wrapper.get_base_model()


def _refusal(wrapper: Any) -> str:
    """Why something cannot be unwrapped, and what to hand over."""
    kind = type(wrapper).__name__
    if isinstance(wrapper, nn.Module):
        for name, module in wrapper.named_modules():
            if isinstance(module, PreTrainedModel) and _has_adapter(module):
                inner = type(module).__name__
                return (
                    f"{kind} is not a model of transformers but a wrapper that is not known here, "
                    f"so it cannot be said which of its passes run the {inner} inside: hand over "
                    f"that model, which is `.{name}` of it"
                )
    return f"expected a transformers model, got {ARTICLE[kind[0] in 'AEIOU']} {kind}"


def _has_adapter(model: PreTrainedModel) -> bool:
    return any(cls.__name__ in ADAPTERS for cls in type(model).__mro__)


def check_generate(model: PreTrainedModel) -> None:
    """Refuse a model whose class decodes with another model than itself.

    Raises:
        UnsupportedError: Its ``generate`` is not transformers' own, nor goes on to that.
    """
    own = inspect.unwrap(getattr(type(model), "generate", GenerationMixin.generate))
    code = getattr(own, "__code__", None)
    # Whoever calls generate by `super` or on a base of the class passes through.
    bases = {base.__name__ for base in type(model).__mro__[1:] if hasattr(base, "generate")}
    names = set() if code is None else {*code.co_names}
    goes_on = "generate" in names and bool(names & {"super", *bases})
    if own is not inspect.unwrap(GenerationMixin.generate) and not goes_on:
        raise UnsupportedError(
            f"{type(model).__name__} has a generate of its own, which is not transformers' "
            "GenerationMixin.generate: such methods run a model inside of it on ready embeddings, "
            "so neither hooks on the outer model nor the places of the image tokens would be "
            "found. Load the checkpoint with the class that transformers itself has for it, "
            "without trust_remote_code"
        )
