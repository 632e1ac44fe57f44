"""What a run was made with: versions, device, digests of weights and data."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lvlmsal.adapters.backends import image_backend
from lvlmsal.adapters.forms import base_of
from lvlmsal.adapters.sources import find_source
from lvlmsal.evaluation.config.plan import Plan
from lvlmsal.evaluation.config.world import made_with
from lvlmsal.evaluation.results.atomic import write_text
from lvlmsal.evaluation.results.manifests import Manifest
from lvlmsal.evaluation.results.names import SUBSETS, per_benchmark
from lvlmsal.evaluation.run.fits_used import fits_used
from lvlmsal.progress import track
from lvlmsal.readers.digests import file_digest
from lvlmsal.registry import CATALOG
from lvlmsal.secrets import hide

if TYPE_CHECKING:
    from lvlmsal.benchmarks.base import Benchmark
    from lvlmsal.evaluation.config.schema import ModelConfig
    from lvlmsal.model.lvlm import Lvlm

PACKAGES = (
    *("lvlmsal", "torch", "torchvision", "transformers", "lightning", "torchmetrics", "omegaconf"),
    "pillow",
)


def describe_environment(
    plan: Plan, manifests: Mapping[str, Manifest], device: torch.device
) -> dict[str, Any]:
    """Everything but the models, which are described when they are loaded.

    Args:
        plan: The run.
        manifests: What each benchmark asks, by label.
        device: What this process answers on.

    Raises:
        ConfigError: A method was fitted on images that are asked about.
    """
    drawn, fits = made_with(plan.config.world), fits_used(plan)
    return {
        "packages": {name: _version(name) for name in PACKAGES},
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "seeds": {"run": plan.config.all_seeds(), "bootstrap": plan.config.bootstrap.seed},
        "data": {
            label: _data(label, benchmark, manifests[label])
            for label, benchmark in plan.benchmarks.items()
        },
        "cells": {cell.digest: cell.shown for cell in plan.cells},
        "models": {},
        **({"world": drawn} if drawn else {}),
        **({"fits": fits} if fits else {}),
    }


def describe_model(lvlm: Lvlm, source: str) -> dict[str, Any]:
    """What was loaded: where from, which revision, which weights, on what device.

    Args:
        lvlm: The loaded model.
        source: What the config calls it.
    """
    config = lvlm.model.config
    folder = Path(str(getattr(config, "_name_or_path", "") or ""))
    parameters = list(lvlm.model.parameters())
    return {
        "source": hide(source),
        "class": type(lvlm.model).__name__,
        "revision": getattr(config, "_commit_hash", None),
        "dtype": str(lvlm.model.dtype).removeprefix("torch."),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "attention": getattr(config, "_attn_implementation", None),
        "processor": type(lvlm.processor).__name__,
        "image_processor": type(getattr(lvlm.processor, "image_processor", None)).__name__,
        "image_backend": image_backend(lvlm.processor),
        **_files(folder, source),
    }


def describe_unloaded(model: ModelConfig, ready: Any = None) -> dict[str, Any]:
    """As much of `describe_model` as can be said without loading the model.

    Args:
        model: The entry of the config.
        ready: What `evaluate` was given in place of its `source`: an `Lvlm`, or a pair of model and
            processor.
    """
    if ready is None:
        source = find_source(model.source, model.revision)
        folder = Path(source.location) if source.local else Path()
    else:
        given = ready[0] if isinstance(ready, tuple) else getattr(ready, "model", None)
        config = getattr(given, "config", None)
        folder = Path(str(getattr(config, "_name_or_path", "") or ""))
    # of what comes from the hub or from memory nothing is known
    found = _files(folder, model.source if ready is None else "")
    return found if any(found.values()) else {}


def _files(folder: Path, source: str) -> dict[str, dict[str, str]]:
    """Digests of a checkpoint, and of the adapter (LoRA) that went into it, if there is one."""
    folders = [folder]
    if source and source not in CATALOG and base_of(Path(source)) is not None:
        folders.append(Path(source))
    return {
        kind: {name: digest for each in folders for name, digest in _digests(each, names).items()}
        for kind, names in (("weights", ("*.safetensors",)), ("files", _FILES))
    }


_FILES = (
    *("config.json", "generation_config.json", "adapter_config.json", "*.safetensors.index.json"),
    *("processor*", "preprocessor*", "image_processor*", "video_preprocessor*", "chat_template*"),
    *("tokenizer*", "vocab*", "merges*", "added_tokens*", "special_tokens*", "bpe.codes"),
    *("dict.txt", "*.model", "*.tiktoken"),
    # whatever its name is: the code of a checkpoint may import any of it
    "*.py",
)
"""What of a checkpoint's folder can change an answer; notes and model cards lie there, too."""


def _digests(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """Digests of the files of a checkpoint's folder; none where it comes from the hub."""
    if folder == Path() or not folder.is_dir():
        return {}
    files = [
        path
        for path in sorted(folder.iterdir())
        if any(fnmatchcase(path.name, pattern) for pattern in patterns) and path.is_file()
    ]
    return {path.name: file_digest(path) for path in track(files, f"digests of {folder.name}")}


def _data(label: str, benchmark: Benchmark, manifest: Manifest) -> dict[str, Any]:
    """What is asked: how much, which of it, and the digests of everything that it is made of."""
    chosen = benchmark.chosen()
    return {
        "samples": len(benchmark.samples()),
        "samples_digest": benchmark.digest(),
        "images_digest": manifest.images_digest,
        "files": {
            benchmark.relative_name(path): file_digest(path) for path in benchmark.data_files()
        },
        "subset": None
        if chosen is None
        else {
            "chosen": chosen.option,
            "groups": len(chosen.groups),
            "of": chosen.population,
            "digest": chosen.digest,
            "file": f"{SUBSETS}/{per_benchmark(label, '.txt')}" if _is_drawn(benchmark) else None,
        },
    }


def write_subsets(folder: Path, plan: Plan) -> None:
    """Write which groups were drawn, as id lists that the option `subset` takes.

    Args:
        folder: The run folder.
        plan: The run.
    """
    for label, benchmark in plan.benchmarks.items():
        chosen = benchmark.chosen()
        if chosen is not None and _is_drawn(benchmark):
            path = folder / SUBSETS / per_benchmark(label, ".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, chosen.text())


def _is_drawn(benchmark: Benchmark) -> bool:
    """Whether the groups are more than the first so many of the files."""
    return benchmark.subset is not None or benchmark.subset_seed is not None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
