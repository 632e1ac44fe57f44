"""What is wrong with a config, as far as it is known without importing any component."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lvlmsal.adapters.backends import backend_problem
from lvlmsal.errors import UnknownName, close_matches
from lvlmsal.evaluation.config.judge_config import judge_problems
from lvlmsal.evaluation.config.loggers import logger_problems
from lvlmsal.evaluation.config.schema import BenchmarkConfig, MethodConfig, ModelConfig, RunConfig
from lvlmsal.registry import (
    ADAPTERS,
    BENCHMARKS,
    CATALOG,
    DECODERS,
    INTERVENTIONS,
    CheckpointCard,
    Registry,
)

DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")
"""What ``dtype`` of a model may say."""

LONGEST_PATH = 1000
"""Characters; systems allow more, and no name of a table should have them."""

_SHORT_DTYPES = {
    "fp16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "fp32": "float32",
    "fp64": "float64",
}

_CONVERTED = {
    "liuhaotian/llava-v1.5-7b": "llava-1.5-7b",
    "liuhaotian/llava-v1.5-13b": "llava-1.5-13b",
}
"""Checkpoints in the form of their own code -> the card of the same weights for transformers."""

_OTHERS: dict[str, tuple[Registry[Any], str]] = {
    "decoder": (
        INTERVENTIONS,
        "is an intervention, which edits a decoder: write  interventions: [{}]",
    ),
    "intervention": (DECODERS, "is a decoder, which interventions edit: write  decoder: {}"),
}

T = TypeVar("T")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def stated_problems(config: RunConfig, *, read: Sequence[str]) -> list[str]:
    """What is wrong with a config in itself: keys, names, options and their values.

    Args:
        config: The config.
        read: What was wrong when it was read.
    """
    problems = settings_problems(config)
    for index, method in enumerate(config.methods):
        cards = [card_of(model) for model in config.models] or [None]
        wrong = [problem for card in cards for problem in component_problems(method, card)]
        problems += placed(f"methods[{index}] ({method.name})", dict.fromkeys(wrong))
    for index, entry in enumerate(config.benchmarks):
        wrong = benchmark_problems(entry, root="unset" if lacks_root(entry, read) else "")
        problems += placed(f"benchmarks[{index}]", wrong)
    return problems


def settings_problems(config: RunConfig, *, given: Sequence[str] = ()) -> list[str]:
    """Problems of everything but methods and benchmarks.

    Args:
        config: The config.
        given: Names of models that the caller hands over as objects, so that their `source` need
            not lead to any weights.
    """
    problems = run_problems(config)
    problems += logger_problems(config.logger)
    problems += judge_problems(config)
    for index, model in enumerate(config.models):
        if model.name not in given:
            problems += placed(f"models[{index}]", model_problems(model))
    return problems


def placed(where: str, problems: Iterable[str]) -> list[str]:
    """Problems with the place where they are."""
    return [f"{where}: {problem}" for problem in problems]


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
    if Path(model.source).is_dir():
        return problems + _folder_problems(Path(model.source))
    if model.source in _CONVERTED:
        return [
            *problems,
            f"{model.source} holds the weights in the form of LLaVA's own code; the same weights "
            f"for transformers are {_CONVERTED[model.source]}",
        ]
    if not _HUB_ID.fullmatch(model.source):
        unknown = UnknownName("checkpoint", model.source, CATALOG.names())
        problems.append(f"{unknown}; nor is it a folder or a hub id such as owner/name")
    return problems


def component_problems(
    method: MethodConfig, card: CheckpointCard | None, *, imports: bool = False
) -> list[str]:
    """Problems of a method's decoder and of its interventions, each by itself.

    Args:
        method: The method.
        card: Of the checkpoint; None for one without.
        imports: Import and build the classes; otherwise their outlines are asked.
    """
    problems: list[str] = []
    components: list[tuple[Registry[Any], dict[str, Any]]] = [(DECODERS, method.decoder)]
    components += [(INTERVENTIONS, entry) for entry in method.interventions]
    for registry, entry in components:
        name = entry.get("name")
        if not isinstance(name, str):
            problems.append(f"a {registry.kind} needs a `name`; got {entry!r}")
            continue
        other, advice = _OTHERS[registry.kind]
        if name not in registry and name in other:
            problems.append(f"{name!r} {advice.format(name)}")
            continue
        check = registry.problems if imports else registry.outline_problems
        problems += check(name, with_defaults(registry, entry, card))
    return problems


def card_of(model: ModelConfig) -> CheckpointCard | None:
    """The catalog's card of a checkpoint; a hub id or a folder has none."""
    return CATALOG.get(model.source) if model.source in CATALOG else None


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
    folder = Path(model.source) if card is None else card.folder
    if folder is None or not _is_file(folder / "config.json"):
        return {}
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):  # told of by `model_problems`
        return {}
    return content if isinstance(content, dict) else {}


def benchmark_problems(
    entry: BenchmarkConfig, *, root: str = "", imports: bool = False
) -> list[str]:
    """Problems of a benchmark's name and options.

    Args:
        entry: The benchmark.
        root: Stands in for a `root` that a config leaves open and that is reported already.
        imports: Import and build the class; otherwise its outline is asked.
    """
    if entry.name == "???":
        return []
    check = BENCHMARKS.problems if imports else BENCHMARKS.outline_problems
    return check(entry.name, {**({"root": root} if root else {}), **entry.options})


def lacks_root(entry: BenchmarkConfig, problems: Iterable[str]) -> bool:
    """Whether a benchmark has no `root` because of a problem that is told elsewhere."""
    return "root" not in entry.options and any(p.startswith("data.root:") for p in problems)


def _is_file(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a part of it is longer than names can be: told where it is made
        return False


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
    return registry.build(str(entry["name"]), **with_defaults(registry, entry, card))


def with_defaults(
    registry: Registry[Any], entry: Mapping[str, Any], card: CheckpointCard | None
) -> dict[str, Any]:
    """Options of a decoder or an intervention above those that a checkpoint sets."""
    given = {key: value for key, value in entry.items() if key != "name"}
    return {**registry.defaults(str(entry["name"]), card), **given}


def _folder_problems(folder: Path) -> list[str]:
    """What keeps a local folder from being loaded as a checkpoint."""
    config = folder / "config.json"
    if not config.is_file():
        return [f"the folder {folder} is not a checkpoint: it has no config.json"]
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
