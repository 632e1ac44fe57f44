"""What can be wrong with each part of a config, found without loading weights."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lvlmsal.adapters.backends import backend_problem
from lvlmsal.attention.layers import resolve_layers
from lvlmsal.decoders.combination import check_combination
from lvlmsal.errors import ConfigError, UnknownName, UnsupportedError, close_matches
from lvlmsal.evaluation.config.schema import BenchmarkConfig, MethodConfig, ModelConfig, RunConfig
from lvlmsal.registry import (
    ADAPTERS,
    BENCHMARKS,
    CATALOGUE,
    DECODERS,
    INTERVENTIONS,
    CheckpointCard,
    Registry,
)

DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")
"""What ``dtype`` of a model may say."""

LONGEST_PATH = 1000
"""Characters; systems allow more, and no name of a table should have them."""

T = TypeVar("T")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def run_problems(config: RunConfig) -> list[str]:
    """Problems of the run as a whole: empty lists, names used twice, numbers out of range."""
    problems = []
    for key in ("models", "methods", "benchmarks"):
        entries = getattr(config, key)
        if not entries:
            problems.append(f"{key}: needs at least one entry")
        if key != "benchmarks":
            problems += [
                f"{key}: the name {name!r} is used {count} times; give each entry its own `name`"
                for name, count in Counter(entry.name for entry in entries).items()
                if count > 1 and name != "???"
            ]
    methods = [method.name for method in config.methods]
    if config.baseline and config.baseline not in methods:
        problems.append(
            f"baseline: there is no method {config.baseline!r}."
            f"{close_matches(config.baseline, methods)} Methods: {', '.join(methods)}"
        )
    if config.twins and config.baseline:
        problems.append(
            f"twins: adds what each method is compared with, and baseline={config.baseline!r} "
            "compares all methods with one: leave one of the two out"
        )
    problems += [
        f"seeds: {seed} is given {count} times"
        for seed, count in Counter(config.seeds).items()
        if count > 1
    ]
    lowest: list[tuple[str, int, int]] = [
        ("batch_size", config.batch_size, 1),
        ("workers", config.workers, 0),
        ("max_failures", config.max_failures, 0),
        ("seed", config.seed, 0),
        *((f"seeds[{place}]", seed, 0) for place, seed in enumerate(config.seeds)),
        ("trainer.num_nodes", config.trainer.num_nodes, 1),
        ("bootstrap.samples", config.bootstrap.samples, 100),
    ]
    problems += [
        f"{key}: must be at least {least}, got {value}"
        for key, value, least in lowest
        if value < least
    ]
    spread = [model.name for model in config.models if model.device_map is not None]
    if spread and str(config.trainer.devices) != "1":
        problems.append(
            f"trainer.devices: must be 1 with the device_map of {spread[0]!r}, which spreads the "
            f"model over the devices by itself; got {config.trainer.devices!r}"
        )
    if not config.output.strip():
        problems.append("output: is empty; expected a folder to write into, such as runs/NAME")
    if len(config.output) > LONGEST_PATH:
        problems.append(f"output: has {len(config.output)} characters, which no path can have")
    elif config.output != "???" and _is_file(config.output):
        problems.append(f"output: {config.output!r} is a file; expected a folder to write into")
    return problems


def model_problems(model: ModelConfig) -> list[str]:
    """Problems of a checkpoint: unknown name, folder without weights, unknown architecture."""
    if model.source == "???":
        return []
    problems = []
    if model.dtype is not None and model.dtype not in DTYPES:
        problems.append(
            f"there is no dtype {model.dtype!r}.{close_matches(model.dtype, DTYPES)} "
            f"Known: {', '.join(DTYPES)}"
        )
    problem = backend_problem(model.image_backend)
    if problem:
        problems.append(problem)
    if model.max_image_pixels is not None and model.max_image_pixels < 1:
        problems.append(f"max_image_pixels must be at least 1, got {model.max_image_pixels}")
    if model.source in CATALOGUE:
        card = CATALOGUE.get(model.source)
        return problems + (_folder_problems(card.folder) if card.folder else [])
    if len(model.source) > LONGEST_PATH:
        return [*problems, f"the source has {len(model.source)} characters, which is no path"]
    if Path(model.source).is_dir():
        return problems + _folder_problems(Path(model.source))
    if not _HUB_ID.fullmatch(model.source):
        unknown = UnknownName("checkpoint", model.source, CATALOGUE.names())
        problems.append(f"{unknown}; nor is it a folder or a hub id such as owner/name")
    return problems


def method_problems(method: MethodConfig, models: Sequence[ModelConfig]) -> list[str]:
    """Problems of a decoder, its interventions, and the two together, for every checkpoint."""
    problems: list[str] = []
    given: list[ModelConfig | None] = [*models] or [None]
    for model in given:
        card = card_of(model) if model is not None else None
        found = _component_problems(DECODERS, method.decoder, card)
        for entry in method.interventions:
            found += _component_problems(INTERVENTIONS, entry, card)
        problems += found or _clashes(method, card)
        if not found and model is not None and (depth := _depth(model)) is not None:
            problems += [f"{model.name}: {problem}" for problem in _misfits(method, card, depth)]
    return list(dict.fromkeys(problems))


def card_of(model: ModelConfig) -> CheckpointCard | None:
    """The catalogue's card of a checkpoint; a hub id or a folder has none."""
    return CATALOGUE.get(model.source) if model.source in CATALOGUE else None


def architecture_of(model: ModelConfig) -> str | None:
    """A checkpoint's architecture by the catalogue or its folder; None for other hub ids."""
    card = card_of(model)
    if card is not None:
        return card.architecture
    names = _config_of(model).get("architectures")
    return str(names[0]) if isinstance(names, list) and names else None


def _config_of(model: ModelConfig) -> dict[str, Any]:
    """A checkpoint's ``config.json``; empty where it is not at hand, or is none."""
    card = card_of(model)
    folder = Path(model.source) if card is None else card.folder
    if folder is None or not _is_file(folder / "config.json"):
        return {}
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):  # told of by `model_problems`
        return {}
    return content if isinstance(content, dict) else {}


def benchmark_problems(entry: BenchmarkConfig, *, root: str = "") -> list[str]:
    """Problems of a benchmark's name and options.

    Args:
        entry: The benchmark.
        root: Stands in for a `root` that a config leaves open and that is reported already.
    """
    if entry.name == "???":
        return []
    return BENCHMARKS.problems(entry.name, {**({"root": root} if root else {}), **entry.options})


def _is_file(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a part of it is longer than names can be: told where it is made
        return False


def _component_problems(
    registry: Registry[Any], entry: Mapping[str, Any], card: CheckpointCard | None
) -> list[str]:
    name = entry.get("name")
    if not isinstance(name, str):
        return [f"a {registry.kind} needs a `name`; got {entry!r}"]
    return registry.problems(name, _with_defaults(registry, entry, card))


def _clashes(method: MethodConfig, card: CheckpointCard | None) -> list[str]:
    """Interventions that are wrong, or undefined, under the decoder."""
    try:
        check_combination(
            build_component(DECODERS, method.decoder, card),
            [build_component(INTERVENTIONS, entry, card) for entry in method.interventions],
        )
    except UnsupportedError as error:
        return [str(error)]
    return []


def _misfits(method: MethodConfig, card: CheckpointCard | None, depth: int) -> list[str]:
    """Layers that are named and that a model of some depth lacks."""
    problems = []
    for entry in method.interventions:
        try:
            build_component(INTERVENTIONS, entry, card).bind(depth)
        except ConfigError as error:
            problems += error.problems
    saliency = build_component(DECODERS, method.decoder, card).saliency_options()
    try:
        resolve_layers(saliency.layers if saliency is not None else None, depth)
    except ValueError as error:
        problems.append(f"decoder {method.decoder['name']!r}: {error}")
    return problems


def _depth(model: ModelConfig) -> int | None:
    """Layers of a checkpoint's text decoder, where its files are at hand."""
    content = _config_of(model)
    inner = content.get("text_config", content)
    found = inner.get("num_hidden_layers") if isinstance(inner, dict) else None
    return found if isinstance(found, int) else None


def build_component(
    registry: Registry[T], entry: Mapping[str, Any], card: CheckpointCard | None
) -> T:
    """Build a decoder or an intervention, with a checkpoint's defaults under the config's options.

    Args:
        registry: Where its name is registered.
        entry: ``name`` and options.
        card: The checkpoint's card, if it has one.

    Raises:
        ConfigError: The name or an option is wrong.
    """
    return registry.build(str(entry["name"]), **_with_defaults(registry, entry, card))


def _with_defaults(
    registry: Registry[Any], entry: Mapping[str, Any], card: CheckpointCard | None
) -> dict[str, Any]:
    given = {key: value for key, value in entry.items() if key != "name"}
    return {**registry.defaults(str(entry["name"]), card), **given}


def _folder_problems(folder: Path) -> list[str]:
    """What keeps a local folder from being loaded as a checkpoint."""
    config = folder / "config.json"
    if not config.is_file():
        return [f"the folder {folder} is no checkpoint: it has no config.json"]
    problems = []
    if not any(folder.glob("*.safetensors")):
        problems.append(
            f"the folder {folder} has no weights: expected *.safetensors (other formats can run "
            "code and are not loaded)"
        )
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        return [*problems, f"{config}: not valid JSON ({error})"]
    architectures = content.get("architectures") if isinstance(content, dict) else None
    if not isinstance(architectures, list) or not architectures:
        problems.append(f"{config}: has no list `architectures`, which says which adapter to take")
    elif not isinstance(architectures[0], str) or architectures[0] not in ADAPTERS:
        problems.append(
            f"{config}: no adapter for {architectures[0]!r}."
            f"{close_matches(str(architectures[0]), ADAPTERS.names())} Known: "
            f"{', '.join(ADAPTERS.names())}; docs/contributing/adapter.md shows how to add one"
        )
    return problems
