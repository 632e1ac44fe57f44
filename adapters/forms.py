"""Models in a form that is not read here: one sentence each says what it is and what to do.

Nothing heavy is imported: configs of runs are checked with this, too.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from lvlmsal.adapters.refused import CCA, CCA_CLASS, MADE_OF, is_cca, refusal

WEIGHTS: Final = ("model.safetensors", "model.safetensors.index.json")
"""What one of a checkpoint of transformers has."""

_PICKLE: Final = (
    "pickled weights, which can run code when they are read and are not: where you trust them, "
    "load the model with its class of transformers once and write it with save_pretrained(FOLDER), "
    "which makes safetensors"
)
# Names, folders with a slash behind; the first that fits.
_FILES: Final = (
    (("*.gguf",), f"weights for llama.cpp (GGUF): {MADE_OF}"),
    (("weights.npz",), f"weights for MLX: {MADE_OF}"),
    (("*.onnx", "onnx/"), f"a graph for ONNX, inside of which nothing can be hooked: {MADE_OF}"),
    (("openvino_*",), f"a graph for OpenVINO, inside of which nothing can be hooked: {MADE_OF}"),
    (("*.engine", "*.plan"), f"an engine of TensorRT, which has no layers to hook: {MADE_OF}"),
    (
        ("zero_to_fp32.py", "global_step*/", "*_zero_pp_rank_*", "zero_pp_rank_*"),
        "a checkpoint of DeepSpeed, in pieces by process: put them together with `python "
        "zero_to_fp32.py FOLDER OUTPUT --safe_serialization`, and give OUTPUT with the configs and "
        "the tokenizer of the model copied into it",
    ),
    (
        ("*.distcp", ".metadata", "pytorch_model_fsdp*/", "pytorch_model_fsdp*"),
        "a checkpoint of FSDP (torch.distributed.checkpoint), in pieces by process: put them "
        "together with `accelerate merge-weights FOLDER OUTPUT`, and give OUTPUT with the configs "
        "and the tokenizer of the model copied into it",
    ),
    (
        ("latest_checkpointed_iteration.txt", "iter_*/", "mp_rank_*/", "model_optim_rng.pt"),
        "a checkpoint of Megatron: convert it to the form of transformers with the tools of the "
        "project that trained it",
    ),
    (("*.nemo",), "an archive of NeMo: convert it to the form of transformers with NeMo's tools"),
    (
        ("*.ckpt", "*.ckpt/"),
        "a checkpoint of a training (Lightning or TensorFlow), not a model: write the model with "
        "save_pretrained(FOLDER) where it was trained",
    ),
    (
        ("consolidated*.pth", "consolidated*.safetensors", "params.json"),
        "weights in the form of the authors' own code: take the same weights in the form of "
        "transformers, which most hub repositories have next to them",
    ),
    (
        ("*.h5", "*.msgpack"),
        "weights for TensorFlow or Flax, which transformers does not read any more: take those of "
        "PyTorch, in safetensors",
    ),
    (("model_index.json",), "a pipeline of diffusers, which makes images: give a model that reads"),
    (
        ("snapshots/",),
        "an entry of the hub's cache: give its hub id, or the folder snapshots/COMMIT inside of it",
    ),
    (
        ("checkpoint-*/",),
        "the output of a training: give one of the folders checkpoint-N inside of it",
    ),
    (("*.zip", "*.tar", "*.tar.gz", "*.tgz"), "an archive: unpack it, and give the folder"),
    (("adapter_model.bin", "adapter_model.pt"), f"an adapter (LoRA) of {_PICKLE}"),
    (("*.bin", "*.pt", "*.pth", "*.pkl"), _PICKLE),
    (("*.safetensors",), "weights alone: give the folder, with config.json and the processor"),
)

ADAPTER: Final = "adapter_config.json"
"""What a folder of PEFT has."""

_ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
_PROCESSORS: Final = ("processor_config.json", "preprocessor_config.json")


def unread(path: Path) -> str | None:
    """Say in which form a model is, where that is not one of transformers that is read here.

    Args:
        path: A folder, or a file.

    Returns:
        What it is and what to do, to stand behind its path; None where nothing is known against it.
    """
    if not path.is_dir():
        return _by_names([path.name])
    names = [entry.name + "/" * entry.is_dir() for entry in path.iterdir()]
    if base_of(path) is not None:
        return _adapter(path, names)
    weights = fnmatch.filter(names, "*.safetensors")
    if "config.json" not in names:
        return _by_names(set(names) - set(weights))
    config = read_config(path)
    if said := needs_own_code(path, config):
        return said
    said = refusal(config, str(path)) or _pointers(path)
    if said:
        return said
    if not set(WEIGHTS) & set(names):
        return _by_names(set(names) - set(weights))
    if config and not set(_PROCESSORS) & set(names):
        return (
            "there is no processor (processor_config.json or preprocessor_config.json): copy it "
            "and the tokenizer from the checkpoint that this one was trained from"
        )
    return None


def needs_own_code(folder: Path, config: Mapping[str, Any]) -> str | None:
    """Why a model is not what its config says: the config is that of the model it was made of.

    Args:
        folder: Of a model.
        config: What its ``config.json`` holds.

    Returns:
        A sentence; None for a model that is what it says.
    """
    if is_concentric(folder, config) and CCA_CLASS not in (config.get("architectures") or ()):
        return CCA
    return None


def is_concentric(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether a folder holds CCA-LLaVA, by names or by what its model card says anywhere.

    Args:
        folder: Of a model.
        config: What its ``config.json`` holds.
    """
    if is_cca(str(folder.resolve())) or is_cca(str(config.get("_name_or_path", ""))):
        return True
    card = folder / "README.md"
    if not card.is_file():
        return False
    text = card.read_text(encoding="utf-8", errors="replace").lower().replace("_", "-")
    return "cca-llava" in text or "concentric causal attention" in text


def base_of(folder: Path) -> str | None:
    """What the adapter (LoRA) in a folder of PEFT was trained on; empty where it does not say.

    Args:
        folder: Of anything.

    Returns:
        A name, a hub id or a path; None where the folder holds no adapter, or all weights as well.
    """
    if not (folder / ADAPTER).is_file() or any((folder / name).exists() for name in WEIGHTS):
        return None
    return str(read_config(folder, ADAPTER).get("base_model_name_or_path") or "")


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """A configuration in a folder; empty where it cannot be read, which transformers tells."""
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _adapter(folder: Path, names: Collection[str]) -> str | None:
    """What is wrong with a folder of PEFT."""
    said = refusal({}, str(folder))
    if said:
        return said
    if "non_lora_trainables.bin" in names:
        return (
            "a LoRA of LLaVA's own code: merge it with `lvlmsal convert FOLDER --base BASE "
            "--allow-bin -o OUTPUT`"
        )
    if _ADAPTER_WEIGHTS not in names:
        return _by_names(names) or f"there are no weights: expected {_ADAPTER_WEIGHTS}"
    if importlib.util.find_spec("peft") is None:
        return (
            "an adapter (LoRA), which needs the package peft, and that is not installed: "
            "pip install 'lvlmsal[peft]'"
        )
    return None


def _by_names(names: Iterable[str]) -> str | None:
    ordered = sorted(names)
    for patterns, said in _FILES:
        found = [name for pattern in patterns for name in fnmatch.filter(ordered, pattern)]
        if found:
            return f"{found[0].rstrip('/')} is {said}"
    return None


def _pointers(folder: Path) -> str | None:
    """Files that git leaves in place of large ones."""
    for path in folder.glob("*.safetensors"):
        if path.stat().st_size < 1024 and path.read_bytes().startswith(b"version https://git-lfs"):
            return f"{path.name} is a pointer of Git LFS: fetch the files with `git lfs pull`"
    return None
