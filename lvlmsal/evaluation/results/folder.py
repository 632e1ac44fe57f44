"""The run folder: whether it is one, and its config and environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lvlmsal.errors import DataError
from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.results import names
from lvlmsal.evaluation.results.atomic import write_text
from lvlmsal.evaluation.results.records import part_files
from lvlmsal.readers.shapes import misfit


def has_begun(folder: Path) -> bool:
    """Whether a folder holds a record, so that it belongs to a config and to its data."""
    path = folder / names.RECORDS
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


def check_run_folder(run: Path) -> None:
    """Refuse a folder that holds no run, or none with records.

    Raises:
        DataError: It says which file is missing.
    """
    for name in (names.CONFIG, names.ENVIRONMENT, names.RECORDS):
        # the records may still be in files of several processes
        if not (run / name).is_file() and not (name == names.RECORDS and has_begun(run)):
            raise DataError(f"is not a run folder (no {name})", path=run)


def write_config(folder: Path, config: RunConfig) -> None:
    """Write the config with every default filled in; it can be evaluated again as it is."""
    write_text(folder / names.CONFIG, config.to_yaml())


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


def read_run_config(folder: Path) -> dict[str, Any]:
    """The config that a run has begun with, as it stands in the file.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = folder / names.CONFIG
    if not path.is_file():
        raise _lost(path, "the settings")
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError, RecursionError) as error:
        raise DataError(f"cannot be read: {error}. {_RESTORE}", path=path) from None
    if not isinstance(config, dict):
        raise DataError(f"is damaged: it holds no keys and values. {_RESTORE}", path=path)
    if problem := misfit(config, _CONFIG):
        raise DataError(f"is damaged: {problem}. {_RESTORE}", path=path)
    return {str(key): value for key, value in config.items()}


def read_environment(folder: Path) -> dict[str, Any]:
    """What a run that has begun was made with.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = folder / names.ENVIRONMENT
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
