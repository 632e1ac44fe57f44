"""Whether a run may be continued with a config: what in it contradicts the run's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.plan import NEW, NO_ANSWER
from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.config.unresolved import resolve, unresolved
from lvlmsal.evaluation.results import names
from lvlmsal.evaluation.results.begun import Begun
from lvlmsal.evaluation.results.folder import has_begun, read_environment, read_run_config
from lvlmsal.evaluation.results.records import all_records

FREE = (
    "output",
    "batch_size",
    "share_images",
    "workers",
    "trainer",
    "bootstrap",
    "judge",
    "paper",
    "baseline",
    "twins",
    "logger",
    "max_failures",
    "plugins",
    "resume",
    "data",
)
"""Keys that may change when a run is continued: they change no answer."""

_Leaves = dict[tuple[str, str], Any]
"""Settings by entry of a list (``models[NAME]``; empty for what stands in none) and path."""


def differences(folder: Path, config: RunConfig) -> list[str]:
    """What in a config contradicts the run that has begun in a folder.

    Further models, methods, benchmarks and seeds contradict nothing: they are added to the run. So
    do other settings of one that has no record, because it failed to load, say; it may also go.

    Args:
        folder: A run folder.
        config: The config that is to be continued there.

    Raises:
        DataError: The run has no config, or a damaged one, or its records are damaged.
    """
    earlier = read_run_config(folder)
    texts = []
    try:
        found, unset = resolve(earlier)
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError([str(error).splitlines()[0]], source=str(folder / names.CONFIG)) from None
    old, new = _begun_only(_comparable(found), folder), _comparable(config.to_dict())
    shown_old = _comparable(unresolved(found, unset))
    shown_new = _comparable(config.shown())
    for key in sorted(old.keys() | new.keys()):
        before, now = old.get(key, "not set"), new.get(key, "not set")
        entry, path_in = key
        # what the environment holds is text, whatever the key wants
        is_text = before != shown_old.get(key) and str(before).lower() == str(now).lower()
        if before == now or is_text or (entry and not _has(old, entry)):
            continue
        if entry and not _has(new, entry):
            texts.append(f"{entry}: the run has it, the config does not")
        else:
            before, now = shown_old.get(key, "not set"), shown_new.get(key, "not set")
            name = entry + path_in.replace("/", ".")
            texts.append(f"{name}: the run has {before!r}, the config {now!r}")
    return list(dict.fromkeys(texts))


def _begun_only(leaves: _Leaves, folder: Path) -> _Leaves:
    """The settings of a run without those of entries that have no record."""
    begun = Begun.of(all_records(folder / names.RECORDS).values())
    entries = {
        "",
        *(f"models[{name}]" for name in begun.models),
        *(f"methods[{name}]" for name in begun.methods),
        *(f"benchmarks[{name}]" for name in begun.benchmarks),
    }
    if any(entry.startswith("seeds[") for entry, _ in leaves):
        cells = read_environment(folder)["cells"]
        entries |= {f"seeds[{cells[key]['seed']}]" for key in begun.cells & cells.keys()}
    return {key: value for key, value in leaves.items() if key[0] in entries}


def _has(leaves: _Leaves, entry: str) -> bool:
    return any(key[0] == entry for key in leaves)


def refuse_differences(folder: Path, config: RunConfig) -> None:
    """Stop before another config's records are mixed into a run.

    A folder belongs to a config from its first record on: one that holds none, because loading
    failed, may be used with any.

    Raises:
        ConfigError: The folder holds a run of another config, or a run and `resume` is false.
    """
    if not has_begun(folder):
        return
    if not config.resume:
        raise ConfigError(
            [f"{folder} already holds a run: choose another output, or set resume=true"]
        )
    found = differences(folder, config)
    if found:
        raise ConfigError(
            found,
            source=f"{folder} holds a run of another config. Give the command that the run was "
            f"begun with, or choose another folder with output=... (the settings of the run are in "
            f"{folder / names.CONFIG}; further models, methods, benchmarks and seeds may be added "
            "to it)",
        )


def _comparable(content: Mapping[str, Any]) -> _Leaves:
    """Leaves of a config by entry and path; entries are distinguished by name, not by position."""
    seeds = content.get("seeds") or [content.get("seed", 0)]
    leaves: _Leaves = {("", "seed"): seeds[0]}
    leaves |= {(f"seeds[{seed}]", ""): seed for seed in seeds[1:]}
    for key, value in content.items():
        if key in (*FREE, "seed", "seeds"):
            continue
        if key in ("models", "methods", "benchmarks"):
            for entry in value:
                name = entry.get("label") or entry["name"]
                for path, leaf in _leaves(entry, ""):
                    option = path.lstrip("/")
                    if option not in NO_ANSWER and (option, leaf) not in NEW:
                        leaves[f"{key}[{name}]", path] = leaf
        else:
            leaves.update(
                (("", f"{key}{path}"), leaf)
                for path, leaf in _leaves(value, "")
                if f"{key}{path}" != "world/root" and (path.lstrip("/"), leaf) not in NEW
            )
    return leaves


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for key, entry in value.items() for leaf in _leaves(entry, f"{path}/{key}")]
    return [(path, value)]
