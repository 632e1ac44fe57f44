"""What a run folder says of its run, next to the records: written once, then only added to."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlmsal.errors import LvlmsalError
from lvlmsal.evaluation.config.plan import Plan
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.evaluation.results import names
from lvlmsal.evaluation.results.atomic import write_json
from lvlmsal.evaluation.results.begun import Begun
from lvlmsal.evaluation.results.folder import has_begun, read_environment, write_config
from lvlmsal.evaluation.results.manifests import (
    MANIFESTS,
    make_manifest,
    read_manifest,
    write_manifest,
)
from lvlmsal.evaluation.results.names import per_benchmark
from lvlmsal.evaluation.results.provenance import as_read, continued, refuse_changes
from lvlmsal.evaluation.results.records import Record, all_records
from lvlmsal.evaluation.run.environment import describe_environment, write_subsets

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class Notes:
    """Config, environment, manifests and subsets of a run folder, kept by the first process.

    Args:
        folder: The run folder.
        plan: The run.
        records: The records that are there, by key.
        device: What this process answers on.

    Raises:
        ConfigError: Data have changed since something was asked about them.
        DataError: What the run was made with cannot be read.
        LvlmsalError: The folder cannot be written.
    """

    def __init__(
        self, folder: Path, plan: Plan, records: Mapping[str, Record], device: torch.device
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._manifests = {label: make_manifest(b) for label, b in plan.benchmarks.items()}
        self._environment = describe_environment(plan, self._manifests, device)
        self._begun = Begun.of(records.values())
        wanted = {cell.key(s.id) for cell in plan.cells for s in cell.benchmark.samples()}
        answered = {key for key, record in records.items() if record["status"] == "ok"}
        self._answers = len(answered & wanted) if wanted - answered else None
        if has_begun(folder):
            self._refuse_changes()
            for label in read_environment(folder)["data"].keys() - self._begun.benchmarks:
                _forget(folder, label)
        else:
            # what a run has left that never came to its first record
            for name in (MANIFESTS, names.SUBSETS):
                shutil.rmtree(folder / name, ignore_errors=True)
            (folder / names.ENVIRONMENT).unlink(missing_ok=True)
        write_config(folder, plan.config)
        write_subsets(folder, plan)
        for label, manifest in self._manifests.items():
            there = read_manifest(folder, label) or {}
            new = {
                key: asked
                for key, asked in manifest.samples.items()
                if key not in there or there[key].content != asked.content
            }
            if new:
                write_manifest(folder, label, new)
        self._write()

    def add_model(self, name: str, description: Mapping[str, Any]) -> None:
        """Note what was loaded.

        Args:
            name: What the config calls it.
            description: See `lvlmsal.evaluation.run.environment.describe_model`; of a model whose
                answers are all there, what can be said of it without loading it, if anything.

        Raises:
            ConfigError: It is not what has answered before.
        """
        if not description:
            return
        self._environment["models"][name] = dict(description)
        self._refuse_changes()
        self._write()

    def _refuse_changes(self) -> None:
        refuse_changes(self._folder, self._environment, self._manifests, begun=self._begun)

    def _write(self) -> None:
        path = self._folder / names.ENVIRONMENT
        content = as_read(self._environment)
        if path.is_file():
            earlier = read_environment(self._folder)
            content = continued(earlier, content, self._begun, answers=self._answers)
        write_json(path, content)


def as_begun(folder: Path, model: ModelConfig) -> ModelConfig:
    """A model of a run that goes on, at the commit of the hub that has answered so far.

    A repository gets new commits, for its README alone, and a config that names none would go on
    with them.

    Args:
        folder: The run folder.
        model: The entry of the config.

    Returns:
        The same entry, where it has no record yet or was not loaded from the hub.

    Raises:
        DataError: What the run was made with cannot be read.
    """
    records = all_records(folder / names.RECORDS)
    if model.name not in Begun.of(records.values()).models:
        return model
    noted = read_environment(folder)["models"].get(model.name, {}).get("revision")
    if noted in (None, model.revision):
        return model
    logger.info("%s goes on at commit %s, with which it began", model.name, noted)
    return replace(model, revision=noted)


def _forget(folder: Path, label: str) -> None:
    """Delete what was noted of a benchmark that has no record."""
    for parent, suffix in ((MANIFESTS, ".jsonl"), (names.SUBSETS, ".txt")):
        path = folder / parent / per_benchmark(label, suffix)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise LvlmsalError(f"{path} cannot be deleted: {error.strerror}") from error
