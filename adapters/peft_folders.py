"""Folders of PEFT: an adapter (LoRA) that goes into the weights of the model it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import PreTrainedModel

from lvlmsal.adapters.unwrapping import unwrapped
from lvlmsal.errors import DataError, UnsupportedError


def merged(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Merge the adapter of a folder into the weights of a model.

    Args:
        model: What the adapter was trained on; it is changed.
        folder: With ``adapter_config.json`` and ``adapter_model.safetensors``.

    Returns:
        The model itself: layers of the same class as before, with other weights.

    Raises:
        DataError: The adapter is not one of this model, or broken.
        UnsupportedError: It changes something else than layers, or peft is not installed.
    """
    try:
        from peft import PeftConfig, PeftModel
    except ImportError as error:
        raise UnsupportedError(
            f"{folder}: an adapter (LoRA) needs the package peft: pip install 'lvlmsal[peft]'"
        ) from error
    try:
        config: Any = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        wrapper: Any = PeftModel(model, config)
        unwrapped(wrapper)  # refuses what no layer holds
        loaded = wrapper.load_adapter(str(folder), "default", torch_device=str(model.device))
    except SafetensorError as error:
        raise DataError(f"the weights of the adapter are broken: {error}", path=folder) from error
    # Of what peft raises for an adapter of another model.
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(
            f"the adapter cannot be put into this {type(model).__name__}: {reason}", path=folder
        ) from error
    wrong = [*loaded.missing_keys, *loaded.unexpected_keys]
    if wrong:
        raise DataError(
            f"the adapter is not one of this {type(model).__name__}: {len(wrong)} of its weights "
            f"and of those that its config asks for have no counterpart, among them {wrong[0]}",
            path=folder,
        )
    inner: PreTrainedModel = wrapper.merge_and_unload(safe_merge=True)
    return inner
