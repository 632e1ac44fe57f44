"""What is wrong with a config, as far as it is known without importing any component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lvlmsal.errors import close_matches
from lvlmsal.evaluation.config.checkpoints import LONGEST_PATH, card_of, model_problems
from lvlmsal.evaluation.config.further import metric_problems
from lvlmsal.evaluation.config.judge_config import judge_problems
from lvlmsal.evaluation.config.loggers import logger_problems
from lvlmsal.evaluation.config.schema import BenchmarkConfig, MethodConfig, RunConfig
from lvlmsal.readers.digests import is_file
from lvlmsal.registry import (
    BENCHMARKS,
    DECODERS,
    INTERVENTIONS,
    CheckpointCard,
    Registry,
)
from lvlmsal.registry.methods import IN_CONFIG, Ways, mistaken

T = TypeVar("T")


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
    elif config.output != "???" and is_file(Path(config.output)):
        problems.append(f"output: {config.output!r} is a file; expected a folder to write into")
    return problems


def component_problems(
    method: MethodConfig,
    card: CheckpointCard | None,
    *,
    imports: bool = False,
    ways: Ways = IN_CONFIG,
) -> list[str]:
    """Problems of a method's decoder and of its interventions, each by itself.

    Args:
        method: The method.
        card: Of the checkpoint; None for one without.
        imports: Import and build the classes; otherwise their outlines are asked.
        ways: How names are written where they were given.
    """
    problems: list[str] = []
    components: list[tuple[Registry[Any], dict[str, Any]]] = [(DECODERS, method.decoder)]
    components += [(INTERVENTIONS, entry) for entry in method.interventions]
    for registry, entry in components:
        name = entry.get("name")
        if not isinstance(name, str):
            problems.append(_nameless(registry, entry))
            continue
        if problem := mistaken(registry.kind, name, ways):
            problems.append(problem)
            continue
        check = registry.problems if imports else registry.outline_problems
        problems += check(name, with_defaults(registry, entry, card))
    return problems


def _nameless(registry: Registry[Any], entry: Mapping[str, Any]) -> str:
    """What to write in place of an entry without a name, ``{locore: {beta: 0.3}}`` for instance."""
    key, options = next(iter(entry.items()), ("", None))
    known = key in registry and (options is None or isinstance(options, dict))
    given = {"name": key, **(options or {})} if known else {"name": "...", "option": "value"}
    written = ", ".join(f"{option}: {value}" for option, value in given.items())
    return f"the entry {entry!r} has no name of the {registry.kind}: write  {{{written}}}"


def benchmark_problems(
    entry: BenchmarkConfig, *, root: str = "", imports: bool = False
) -> list[str]:
    """Problems of a benchmark's name and options, and of its further metrics.

    Args:
        entry: The benchmark.
        root: Stands in for a `root` that a config leaves open and that is reported already.
        imports: Import and build the class; otherwise its outline is asked.
    """
    problems = metric_problems(entry, imports=imports)
    if entry.name == "???":
        return problems
    check = BENCHMARKS.problems if imports else BENCHMARKS.outline_problems
    options = {**({"root": root} if root else {}), **entry.options}
    return [*check(entry.name, options), *problems]


def lacks_root(entry: BenchmarkConfig, problems: Iterable[str]) -> bool:
    """Whether a benchmark has no `root` because of a problem that is told elsewhere."""
    return "root" not in entry.options and any(p.startswith("data.root:") for p in problems)


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
