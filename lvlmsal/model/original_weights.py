"""Weights in the layout of LLaVA's own code: where they lie, and what transformers calls them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from lvlmsal.adapters.forms import ADAPTER, WEIGHTS
from lvlmsal.adapters.peft_folders import merged
from lvlmsal.errors import DataError, UnsupportedError

PROJECTOR: Final = "mm_projector.bin"
_BESIDES: Final = "non_lora_trainables.bin"

_TOWER = "model.vision_tower.vision_tower."
_NAMES: Final = (
    ("model.mm_projector.0.", "model.multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "model.multi_modal_projector.linear_2."),
    (_TOWER, "model.vision_tower."),
    ("lm_head.", "lm_head."),
    ("model.", "model.language_model."),
)
"""Beginnings of names in LLaVA's code and in transformers; the first that fits."""

# Computed and not trained; older releases saved them.
_BUFFERS: Final = ("rotary_emb.inv_freq", "embeddings.position_ids")


def original_weights(source: Path, base: Path | None, *, allow_bin: bool) -> dict[str, Tensor]:
    """All weights of a checkpoint by the names of LLaVA's code.

    Args:
        source: Folder of a whole model, of a LoRA (``adapter_config.json`` and
            ``non_lora_trainables.bin``), or of a projector alone (``mm_projector.bin``).
        base: Language model that the latter two stand on.
        allow_bin: Whether pickled files are read, with ``torch.load(weights_only=True)``.

    Raises:
        DataError: Something is missing or broken.
        UnsupportedError: Pickled files, which were not allowed.
    """
    found: dict[str, Tensor] = {}
    is_lora = (source / ADAPTER).is_file()
    if is_lora or not weight_files(source):
        if base is None:
            what = "an adapter (LoRA)" if is_lora else "a projector"
            raise DataError(
                f"this is {what} without its language model: give the folder of that as `base` "
                "(--base FOLDER)",
                path=source,
            )
        found = _language_model(base, source if is_lora else None, allow_bin)
        names = [name for name in (_BESIDES, PROJECTOR) if (source / name).is_file()]
    else:
        if base is not None:
            raise DataError("this is a whole model: leave `base` (--base) out", path=source)
        names = weight_files(source)
    for name in names:
        for key, value in _read(source / name, allow_bin).items():
            found[_unwrapped(key)] = value
    return found


def _unwrapped(name: str) -> str:
    """A name without what PEFT puts in front of it."""
    name = name.removeprefix("base_model.")
    while name.startswith("model.model."):
        name = name.removeprefix("model.")
    return name


def weight_files(folder: Path) -> list[str]:
    """Files of a folder that hold weights of a whole model; safetensors where there are any."""
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    names = [name for name in names if name.startswith(WEIGHTS[0].partition(".")[0])]
    return names or sorted(path.name for path in folder.glob("pytorch_model*.bin"))


def renamed(weights: Mapping[str, Tensor], model: PreTrainedModel) -> dict[str, Tensor]:
    """Weights by the names of transformers.

    Args:
        weights: By the names of LLaVA's code.
        model: Of transformers, which tells what its tower's weights are called.
    """
    known = set(model.state_dict())
    found = {}
    for name, value in weights.items():
        if name.endswith(_BUFFERS):
            continue
        for original, ours in _NAMES:
            if name.startswith(original):
                rest = name.removeprefix(original)
                if original == _TOWER and ours + rest not in known:
                    rest = rest.removeprefix("vision_model.")
                found[ours + rest] = value
                break
        else:
            found[name] = value
    return found


def _language_model(base: Path, adapter: Path | None, allow_bin: bool) -> dict[str, Tensor]:
    """Weights of a language model, an adapter merged into them."""
    if adapter is None:
        files = weight_files(base)
        if not files:
            raise DataError("there are no weights of a language model", path=base)
        return dict(_all(base, files, allow_bin))
    if not allow_bin and not (adapter / "adapter_model.safetensors").is_file():
        raise _refused(adapter / "adapter_model.bin")
    auto: Any = AutoModelForCausalLM
    try:
        model = auto.from_pretrained(
            base, dtype="auto", use_safetensors=None if allow_bin else True
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise DataError(f"the language model cannot be loaded: {error}", path=base) from error
    return dict(merged(model, adapter).state_dict())


def _all(folder: Path, names: list[str], allow_bin: bool) -> Iterator[tuple[str, Tensor]]:
    for name in names:
        yield from _read(folder / name, allow_bin).items()


def _read(path: Path, allow_bin: bool) -> dict[str, Tensor]:
    """The tensors of a file."""
    if path.suffix != ".safetensors" and not allow_bin:
        raise _refused(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(f"the weights cannot be read: {reason}", path=path) from error
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise DataError("expected a dictionary of tensors", path=path)
    return loaded


def _refused(path: Path) -> UnsupportedError:
    return UnsupportedError(
        f"{path}: these weights are pickled, which can run code: where you trust them, allow it "
        "with allow_bin=True (--allow-bin), by which torch reads tensors and nothing else"
    )
