"""The run folder: what is written beside the records, and whether a run may be continued."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.plan import NO_ANSWER
from lvlmsal.evaluation.schema import RunConfig

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
    "baseline",
    "twins",
    "logger",
    "max_failures",
    "plugins",
    "resume",
    "data",
)
"""Keys that may change when a run is continued: they change no answer."""


def subset_name(label: str) -> str:
    """File of a benchmark's id list inside the folder `SUBSETS`.

    Example:
        >>> subset_name("pope/random"), subset_name("../x")
        ('pope/random.txt', '_/x.txt')
    """
    parts = [re.sub(r"[^\w.+ -]", "_", part).strip(". ") or "_" for part in label.split("/")]
    return "/".join(parts) + ".txt"


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is either whole or not there."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8", newline="\n")
    scratch.replace(path)


def write_json(path: Path, content: object) -> None:
    """Write JSON that is either whole or not there."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_config(folder: Path, config: RunConfig) -> None:
    """Write the config with every default filled in; it can be evaluated again as it is."""
    write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(config.to_dict())))


def differences(folder: Path, config: RunConfig) -> list[str]:
    """Keys in which a config contradicts the run that is already in a folder.

    Further models, methods, benchmarks and seeds contradict nothing: they are added to the run.

    Args:
        folder: A run folder.
        config: The config that is to be continued there.
    """
    path = folder / CONFIG
    if not path.is_file():
        return []
    earlier = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(earlier, dict)  # write_config writes keys and values
    old = _comparable({str(key): value for key, value in earlier.items()})
    new = _comparable(config.to_dict())
    texts = []
    for key in sorted(old.keys() | new.keys()):
        before, now = old.get(key, "not set"), new.get(key, "not set")
        entry = key.split("/", 1)[0]
        added = key not in old and not any(other.startswith(entry + "/") for other in old)
        if before != now and not (added and "[" in entry):
            texts.append(f"{key.replace('/', '.')}: the run has {before!r}, the config {now!r}")
    return texts


def refuse_differences(folder: Path, config: RunConfig) -> None:
    """Stop before another config's records are mixed into a run.

    Raises:
        ConfigError: The folder holds a run of another config, or a run and `resume` is false.
    """
    if (folder / RECORDS).is_file() and not config.resume:
        raise ConfigError(
            [f"{folder} already holds a run: choose another output, or set resume=true"]
        )
    found = differences(folder, config)
    if found:
        raise ConfigError(
            [*found, "choose another folder with output=..., or delete this one"],
            source=f"{folder} holds a run of another config",
        )


def _comparable(content: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves of a config by path; entries of lists are told apart by name, not by position."""
    seeds = content.get("seeds") or [content.get("seed", 0)]
    leaves: dict[str, Any] = {"seed": seeds[0], **{f"seeds[{seed}]": seed for seed in seeds[1:]}}
    for key, value in content.items():
        if key in (*FREE, "seed", "seeds"):
            continue
        if key in ("models", "methods", "benchmarks"):
            for entry in value:
                name = entry.get("label") or entry["name"]
                for path, leaf in _leaves(entry, ""):
                    if path.lstrip("/") not in NO_ANSWER:
                        leaves[f"{key}[{name}]{path}"] = leaf
        else:
            leaves.update(
                (f"{key}{path}", leaf)
                for path, leaf in _leaves(value, "")
                if f"{key}{path}" != "world/root"
            )
    return leaves


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for key, entry in value.items() for leaf in _leaves(entry, f"{path}/{key}")]
    return [(path, value)]
