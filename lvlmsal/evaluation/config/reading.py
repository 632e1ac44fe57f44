"""Reading a config: overrides, and a typed object with all its problems."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from lvlmsal.errors import ConfigError, close_matches
from lvlmsal.evaluation.config.overrides import apply_override
from lvlmsal.evaluation.config.plain import plain_problems
from lvlmsal.evaluation.config.schema import BenchmarkConfig, MethodConfig, RunConfig
from lvlmsal.evaluation.config.short_forms import spell_out
from lvlmsal.evaluation.config.source import ConfigSource, first_line, load_content
from lvlmsal.evaluation.config.unresolved import Place, Unresolved, resolve
from lvlmsal.registry import DECODERS, INTERVENTIONS, Registry
from lvlmsal.registry.fitting import describe, fit, show

_STRUCTURED: dict[type[Any], DictConfig] = {}


def read_config(
    source: ConfigSource, overrides: Iterable[str] = ()
) -> tuple[RunConfig, list[str], str]:
    """Read a config as far as it can be read.

    Args:
        source: Where the config comes from.
        overrides: Texts ``key=value``. A key is a path such as ``seed`` or
            ``trainer.devices``; an entry of a list is named by its position or by its name, ``*``
            is every entry, and brackets hold names with dots: ``methods.sgrs.decoder.alpha=0.7``,
            ``benchmarks.*.limit=10``, ``models[llava-1.5-7b].dtype=float16``.

    Returns:
        The config, in which a value that is wrong is replaced by the default; every problem; and
        what to call the source in messages.

    Raises:
        ConfigError: The config cannot be read at all.
    """
    content, name = load_content(source)
    content, problems, texts = settle_content(content, overrides, name=name)
    if content.pop("sweep", None) is not None:
        problems.append("sweep: only `lvlmsal sweep CONFIG` takes a config that spans a sweep")
    config: RunConfig = _fill(RunConfig, content, "", problems)
    config.texts = texts
    _default_roots(config)
    return config, problems, name


def settle_content(
    content: dict[str, Any], overrides: Iterable[str], *, name: str
) -> tuple[dict[str, Any], list[str], Unresolved]:
    """Spell a config's short forms out, put overrides in and resolve its interpolations.

    Args:
        content: What `load_content` returned.
        overrides: Texts ``key=value``, as `read_config` takes them.
        name: What to call the config in messages.

    Returns:
        The config as plain Python objects, one sentence for each override that does not fit, and
        the texts that take something from the environment.

    Raises:
        ConfigError: An interpolation leads nowhere.
    """
    problems = plain_problems(content)
    if problems:
        raise ConfigError(problems, source=name)
    content = spell_out(copy.deepcopy(content))  # overrides are put into it, not into the caller's
    for override in overrides:
        try:
            apply_override(content, override)
        except ValueError as error:
            problems.append(f"override {override!r}: {error}")
    if broken := plain_problems(content):  # by an override
        raise ConfigError([*problems, *broken], source=name)
    try:
        resolved, texts = resolve(spell_out(content))
    except InterpolationToMissingValueError as error:
        key = first_line(error).rpartition(" ")[2]
        problems.append(f"{key}: needs a value; add {key}=... or write it into the config")
        raise ConfigError(problems, source=name) from None
    except OmegaConfBaseException as error:
        raise ConfigError([*problems, first_line(error)], source=name) from None
    except RecursionError:
        problems.append("an interpolation leads to itself")
        raise ConfigError(problems, source=name) from None
    return resolved, problems, texts


def _fill(cls: type[Any], content: Any, where: str, problems: list[str]) -> Any:
    """An object of a structured class; what is wrong is reported and left at its default."""
    defaults = {f.name: f for f in dataclasses.fields(cls)}
    result = cls()
    if not isinstance(content, dict):
        problems.append(f"{where}: expected keys and values, got {show(content)}")
        return result
    if cls is BenchmarkConfig:
        own = {key: value for key, value in content.items() if key in ("name", "label", "metrics")}
        content = {**own, "options": {k: v for k, v in content.items() if k not in own}}
    hints = get_type_hints(cls)
    for key, value in content.items():
        here = f"{where}.{key}" if where else str(key)
        if key not in defaults:
            known = ", ".join(defaults)
            hint = _owner(cls, content, str(key)) or close_matches(str(key), defaults)
            problems.append(f"{here}: there is no such key.{hint} Known here: {known}")
            continue
        if isinstance(value, str) and value == "???":
            problems.append(f"{here}: needs a value; add {here}=... or write it into the config")
            continue
        setattr(result, key, _value(cls, key, hints[key], value, here, problems))
    for key, spec in defaults.items():
        if spec.default == "???" and key not in content:
            here = f"{where}.{key}" if where else key
            problems.append(f"{here}: is missing")
    return result


def _owner(cls: type[Any], content: dict[str, Any], key: str) -> str:
    """Where a key belongs that stands one level too high; empty where it belongs nowhere."""
    if cls is RunConfig and key in ("metric", "metrics"):
        return " Metrics stand next to a benchmark: write  benchmarks: [{name: ..., metrics: ...}]."
    if cls is not MethodConfig:
        return ""
    if key in DECODERS or key in INTERVENTIONS:
        place = "decoder" if key in DECODERS else "interventions"
        return f" For options of {key!r}: write  {place}: {_entry(place, f'name: {key}, ...')}."
    edits = content.get("interventions", [])
    decoder = content.get("decoder")
    places: list[tuple[Registry[Any], str, Any]] = [(DECODERS, "decoder", decoder)]
    places += [(INTERVENTIONS, "interventions", edit) for edit in edits if isinstance(edits, list)]
    for registry, place, entry in places:
        name = entry.get("name") if isinstance(entry, dict) else None
        if name in registry and key in registry.options(str(name)):
            written = _entry(place, f"name: {name}, {key}: ...")
            return f" It is an option of {name!r}: write  {place}: {written}."
    return ""


def _entry(place: str, content: str) -> str:
    return f"{{{content}}}" if place == "decoder" else f"[{{{content}}}]"


def _value(
    cls: type[Any],
    key: str,
    hint: Any,
    value: Any,
    here: str,
    problems: list[str],
) -> Any:
    inner: list[Any] = [arg for arg in get_args(hint) if dataclasses.is_dataclass(arg)]
    if dataclasses.is_dataclass(hint):
        nested: Any = hint
        return _fill(nested, value, here, problems)
    if inner and get_origin(hint) is list:
        if not isinstance(value, list):
            problems.append(f"{here}: expected a list, got {show(value)}")
            return []
        return [_fill(inner[0], e, f"{here}[{i}]", problems) for i, e in enumerate(value)]
    if inner:
        return None if value is None else _fill(inner[0], value, here, problems)
    kind = get_origin(hint)
    if kind in (list, dict) and not isinstance(value, kind):
        expected = "a list" if kind is list else "keys and values"
        problems.append(f"{here}: expected {expected}, got {show(value)}")
        return getattr(cls(), key)
    for path in _unset(value, here):
        problems.append(f"{path}: needs a value; add {path}=... or write it into the config")
    try:
        merged = OmegaConf.merge(_structured(cls), {key: value})
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        problems.append(f"{here}: {first_line(error)}")
        return getattr(cls(), key)
    plain = OmegaConf.to_container(merged)
    assert isinstance(plain, dict)  # cls is a dataclass
    # OmegaConf lets a list stand among numbers
    if kind in (list, dict) and not fit(plain[key], hint)[0] and not list(_unset(value, here)):
        problems.append(f"{here}: expected {describe(hint)}, got {show(value)}")
        return getattr(cls(), key)
    return plain[key]


def _structured(cls: type[Any]) -> DictConfig:
    """The typed, empty form of a class, made once; merging copies it."""
    if cls not in _STRUCTURED:
        _STRUCTURED[cls] = OmegaConf.structured(cls)
    return _STRUCTURED[cls]


def _unset(value: object, here: str) -> Iterator[str]:
    """Paths of values that a config leaves to the user."""
    if isinstance(value, dict):
        for key, entry in value.items():
            path = here.removesuffix(".options") + f".{key}"
            yield from [path] if entry == "???" else _unset(entry, path)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _unset(entry, f"{here}[{index}]")


def _default_roots(config: RunConfig) -> None:
    root = config.data.root or (config.world.root if config.world else None)
    key: Place = ("data" if config.data.root else "world", "root")
    for index, benchmark in enumerate(config.benchmarks):
        if root and root != "???" and "root" not in benchmark.options:
            benchmark.options = {"root": root, **benchmark.options}
            if key in config.texts:
                config.texts["benchmarks", index, "root"] = config.texts[key]
