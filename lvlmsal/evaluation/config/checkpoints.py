"""Checkpoints that a config names: what is wrong with them, and what is known without weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lvlmsal.adapters.backends import backend_problem
from lvlmsal.adapters.forms import base_of, read_config, unread
from lvlmsal.adapters.sources import folder_problems
from lvlmsal.errors import UnknownName, close_matches
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.registry import ADAPTERS, CATALOG, CheckpointCard

DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")
"""What ``dtype`` of a model may say."""

_SHORT_DTYPES = {
    "fp16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "fp32": "float32",
    "fp64": "float64",
}

LONGEST_PATH = 1000
"""Characters; systems allow more, and no name of a table should have them."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def model_problems(model: ModelConfig) -> list[str]:
    """Problems of a checkpoint: unknown name, folder without weights, unknown architecture."""
    if model.source == "???":
        return []
    problems = []
    if model.dtype is not None and model.dtype not in DTYPES:
        meant = _SHORT_DTYPES.get(model.dtype, model.dtype)
        problems.append(
            f"there is no dtype {model.dtype!r}.{close_matches(meant, DTYPES)} "
            f"Known: {', '.join(DTYPES)}"
        )
    problem = backend_problem(model.image_backend)
    if problem:
        problems.append(problem)
    if model.max_image_pixels is not None and model.max_image_pixels < 1:
        problems.append(f"max_image_pixels must be at least 1, got {model.max_image_pixels}")
    if model.source in CATALOG:
        card = CATALOG.get(model.source)
        return problems + (_folder_problems(card.folder) if card.folder else [])
    if len(model.source) > LONGEST_PATH:
        return [*problems, f"the source has {len(model.source)} characters, which is not a path"]
    base = _base(model.source)
    if base and not unread(Path(model.source)):
        found = model_problems(ModelConfig(source=base))
        return [
            *problems,
            *(f"{model.source}: what the adapter goes into: {problem}" for problem in found),
        ]
    if Path(model.source).is_dir():
        return problems + _folder_problems(Path(model.source))
    converted = next(
        (card for card in map(CATALOG.get, CATALOG) if card.original == model.source), None
    )
    if converted is not None:
        return [
            *problems,
            f"{model.source} holds the weights in the form of their authors' own code; the same "
            f"weights for transformers are {converted.name}",
        ]
    if not _HUB_ID.fullmatch(model.source):
        unknown = UnknownName("checkpoint", model.source, CATALOG.names())
        problems.append(f"{unknown}; nor is it a folder or a hub id such as owner/name")
    return problems


def card_of(model: ModelConfig) -> CheckpointCard | None:
    """The catalog's card of a checkpoint, or of what its adapter goes into; others have none."""
    name = model.source if model.source in CATALOG else _base(model.source)
    return CATALOG.get(name) if name in CATALOG else None


def architecture_of(model: ModelConfig) -> str | None:
    """A checkpoint's architecture by the catalog or its folder; None for other hub ids."""
    card = card_of(model)
    if card is not None:
        return card.architecture
    names = config_of(model).get("architectures")
    return str(names[0]) if isinstance(names, list) and names else None


def config_of(model: ModelConfig) -> dict[str, Any]:
    """A checkpoint's ``config.json``; empty where it is not available."""
    card = card_of(model)
    folder = Path(_base(model.source) or model.source) if card is None else card.folder
    return {} if folder is None else read_config(folder)


def _base(source: str) -> str:
    """What the adapter (LoRA) of a folder goes into; empty for any other source."""
    try:
        return base_of(Path(source).expanduser()) or ""
    except OSError:  # a part of it is longer than names can be
        return ""


def _folder_problems(folder: Path) -> list[str]:
    """What keeps a local folder from being loaded as a checkpoint, and from having an adapter."""
    problems, config = folder_problems(folder), read_config(folder)
    if unread(folder) or (problems and not config):
        return problems
    architectures = config.get("architectures")
    path = folder / "config.json"
    if not isinstance(architectures, list) or not architectures:
        problems.append(f"{path}: has no list `architectures`, which says which adapter to take")
    elif not isinstance(architectures[0], str) or architectures[0] not in ADAPTERS:
        problems.append(
            f"{path}: no adapter for {architectures[0]!r}."
            f"{close_matches(str(architectures[0]), ADAPTERS.names())} Known: "
            f"{', '.join(ADAPTERS.names())}; docs/contributing/adapter.md shows how to add one"
        )
    return problems
