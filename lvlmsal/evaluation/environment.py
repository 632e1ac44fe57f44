"""What a run was made with: versions, device, digests of weights and data."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lvlmsal.adapters.backends import image_backend
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.folder import SUBSETS, read_environment, subset_name, write_text
from lvlmsal.files.digests import file_digest, image_digest, images_digest
from lvlmsal.planning.plan import Plan
from lvlmsal.planning.trainer import make_trainer
from lvlmsal.secrets import hide

if TYPE_CHECKING:
    from lvlmsal.benchmarks.base import Benchmark
    from lvlmsal.lvlm import Lvlm

PACKAGES = (
    *("lvlmsal", "torch", "torchvision", "transformers", "lightning", "torchmetrics", "omegaconf"),
    "pillow",
)


def describe_environment(plan: Plan) -> dict[str, Any]:
    """Everything but the models, which are described when they are loaded."""
    return {
        "packages": {name: _version(name) for name in PACKAGES},
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "device": str(make_trainer(plan.config.trainer).strategy.root_device),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "seeds": {"run": plan.config.all_seeds(), "bootstrap": plan.config.bootstrap.seed},
        "data": {label: _data(label, benchmark) for label, benchmark in plan.benchmarks.items()},
        "cells": {cell.digest: cell.shown for cell in plan.cells},
        "models": {},
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
        "weights": {path.name: file_digest(path) for path in sorted(folder.glob("*.safetensors"))}
        if folder.is_dir() and folder != Path()
        else {},
    }


def _data(label: str, benchmark: Benchmark) -> dict[str, Any]:
    """What is asked: how much, which of it, and the digests of everything that it is made of."""
    chosen = benchmark.chosen()
    return {
        "samples": len(benchmark.samples()),
        "samples_digest": benchmark.digest(),
        "images_digest": images_digest(
            (path.name, image_digest(path)) for path in benchmark.image_files()
        ),
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
            "file": f"{SUBSETS}/{subset_name(label)}" if _is_drawn(benchmark) else None,
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
            path = folder / SUBSETS / subset_name(label)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, chosen.text())


def _is_drawn(benchmark: Benchmark) -> bool:
    """Whether the groups are more than the first so many of the files."""
    return benchmark.subset is not None or benchmark.subset_seed is not None


def refuse_changes(folder: Path, environment: dict[str, Any]) -> None:
    """Stop if the data, the weights or their form have changed since a run's first records.

    Args:
        folder: The run folder.
        environment: What is there now.

    Raises:
        ConfigError: Something changed; it says what.
        DataError: What the run was made with cannot be read.
    """
    earlier = read_environment(folder)
    if earlier is None:
        return
    found = [
        f"the samples of {label} have changed since the run began"
        for label, entry in environment["data"].items()
        if label in earlier["data"]
        and entry["samples_digest"] != earlier["data"][label]["samples_digest"]
    ]
    for name, entry in environment["models"].items():
        before = earlier["models"].get(name, entry)
        if entry["weights"] != before["weights"]:
            found.append(f"the weights of {name} have changed since the run began")
        # either can change an answer, and records do not say under which they were made
        found += [
            f"{name} began with the {what} {before[what]} and would go on with {entry[what]}"
            for what in ("dtype", "attention", "processor", "image_processor", "image_backend")
            if what in before and entry[what] != before[what]
        ]
    if found:
        raise ConfigError(
            [*found, "choose another folder with output=..., or delete this one"],
            source=str(folder),
        )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
