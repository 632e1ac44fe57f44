"""The run folder: what is written next to the records, and whether a run may be continued."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lvlmsal.errors import ConfigError, DataError, LvlmsalError
from lvlmsal.evaluation.config.plan import NEW, NO_ANSWER
from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.config.unresolved import resolve, unresolved
from lvlmsal.evaluation.results.begun import Begun
from lvlmsal.evaluation.results.records import all_records, part_files
from lvlmsal.readers.shapes import misfit

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
RECORDS = "records.jsonl"
RESULTS = "results.json"
TABLE = "results.md"
REPORT = "report.html"
LOG = "log.txt"
REPLIES = "judge.jsonl"
SUBSETS = "subsets"

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


def per_benchmark(label: str, suffix: str) -> str:
    """A benchmark's file in a folder that has one for each, such as `SUBSETS`.

    Example:
        >>> per_benchmark("pope/random", ".txt"), per_benchmark("../x", ".txt")
        ('pope/random.txt', '_/x.txt')
    """
    parts = [re.sub(r"[^\w.+ -]", "_", part).strip(". ") or "_" for part in label.split("/")]
    return "/".join(parts) + suffix


def has_begun(folder: Path) -> bool:
    """Whether a folder holds a record, so that it belongs to a config and to its data."""
    path = folder / RECORDS
    for found in (path, *part_files(path)):
        try:
            with found.open("rb") as file:
                if file.readline().endswith(b"\n"):
                    return True
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", path=found) from error
    return False


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is either whole or not there.

    Half of a surrogate pair, which no encoding takes, becomes its escape.

    Raises:
        LvlmsalError: It cannot be written: the disk is full, or the folder read-only or gone.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        scratch.replace(path)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink()
        raise LvlmsalError(
            f"{path} cannot be written: {error.strerror}. Answers that were written before stay: "
            "fix this, then rerun the same command to resume"
        ) from error


def write_json(path: Path, content: object) -> None:
    """Write JSON that is either whole or not there."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_config(folder: Path, config: RunConfig) -> None:
    """Write the config with every default filled in; it can be evaluated again as it is."""
    write_text(folder / CONFIG, config.to_yaml())


_CONFIG = {key: [{"name": str}] for key in ("models", "methods", "benchmarks")}
_ENVIRONMENT = {
    "packages": dict,
    "data": {"*": {"samples": int, "samples_digest": str, "images_digest": str, "files?": dict}},
    "models": {"*": {"weights": dict, "revision?": (str, type(None))}},
    "cells": {
        "*": {
            "model": {"name": str},
            "method": str,
            "decoder": {"name": str},
            "interventions": [{"name": str}],
            "benchmark": {"label": str},
            "seed": int,
        }
    },
    "continued?": [{"answers": int, "changed": dict}],
}


def read_environment(folder: Path) -> dict[str, Any]:
    """What a run that has begun was made with.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = folder / ENVIRONMENT
    if not path.is_file():
        raise _lost(path, "the data and the weights")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(f"cannot be read: {error}. {_RESTORE}", path=path) from None
    if problem := misfit(content, _ENVIRONMENT):
        raise DataError(f"is damaged: {problem}. {_RESTORE}", path=path)
    environment: dict[str, Any] = content
    return environment


_RESTORE = "Put the file back as it was, or choose another folder with output=..."


def _lost(path: Path, what: str) -> DataError:
    """A file is gone that records stand or fall with."""
    return DataError(
        f"is missing, though the run has records: it says {what} that they belong to. {_RESTORE}",
        path=path,
    )


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
    path = folder / CONFIG
    if not path.is_file():
        raise _lost(path, "the settings")
    try:
        earlier = OmegaConf.to_container(OmegaConf.load(path))
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError, RecursionError) as error:
        raise DataError(f"cannot be read: {error}. {_RESTORE}", path=path) from None
    if not isinstance(earlier, dict):
        raise DataError(f"is damaged: it holds no keys and values. {_RESTORE}", path=path)
    if problem := misfit(earlier, _CONFIG):
        raise DataError(f"is damaged: {problem}. {_RESTORE}", path=path)
    texts = []
    try:
        found, unset = resolve({str(key): value for key, value in earlier.items()})
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError([str(error).splitlines()[0]], source=str(path)) from None
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
    begun = Begun.of(all_records(folder / RECORDS).values())
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
            f"{folder / CONFIG}; further models, methods, benchmarks and seeds may be added to it)",
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
