"""`evaluate`: a checked plan, answered cell by cell, then scored."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.fabric.utilities.rank_zero import rank_zero_only

from lvlmsal.errors import ConfigError, LvlmsalError
from lvlmsal.evaluation import folder as names
from lvlmsal.evaluation.answering import AnswerModule
from lvlmsal.evaluation.config import ConfigSource
from lvlmsal.evaluation.environment import (
    describe_environment,
    describe_model,
    refuse_changes,
    write_subsets,
)
from lvlmsal.evaluation.folder import refuse_differences, write_config, write_json
from lvlmsal.evaluation.guards import (
    interrupts,
    log_file,
    no_loading_bar,
    quiet_lightning,
)
from lvlmsal.evaluation.loading import AnswerData, make_batches
from lvlmsal.evaluation.plan import Cell, Plan, make_plan
from lvlmsal.evaluation.progress import RunProgress
from lvlmsal.evaluation.recording import RecordCallback
from lvlmsal.evaluation.records import RunLock, merge_parts, put_in_order, read_records
from lvlmsal.evaluation.result import Result, score
from lvlmsal.evaluation.trainer import make_trainer
from lvlmsal.lvlm import Lvlm, load
from lvlmsal.prefix import can_share

if TYPE_CHECKING:
    from lvlmsal.evaluation.schema import ModelConfig

logger = logging.getLogger(__name__)


def evaluate(
    cfg: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    models: Mapping[str, Any] | None = None,
) -> Result:
    """Answer every sample of every benchmark with every model and method, then score the answers.

    The whole config is checked before any weights are loaded. Each answer is written to the run
    folder as soon as it is there; giving the same config again continues a run that was stopped,
    and does nothing but score where all answers are there.

    Args:
        cfg: A YAML file, the name of a packaged config (``demo``), a dictionary or an OmegaConf
            object; `lvlmsal.evaluation.schema` says what it may hold.
        overrides: Texts ``key=value``, see `lvlmsal.evaluation.config.read_config`.
        models: Models that are already loaded, by the name that the config gives them: an
            `lvlmsal.Lvlm` or a pair of model and processor. The config's `source` then names
            where they come from and loads nothing.

    Returns:
        The figures and where everything lies.

    Raises:
        ConfigError: The config is wrong, or the run folder holds another config's run.
        DataError: A file of a benchmark is damaged.
        LvlmsalError: A checkpoint cannot be loaded, or another process writes to the folder.
    """
    given = dict(models or {})
    with quiet_lightning():
        plan = make_plan(cfg, overrides, given=list(given))
        run = Path(plan.config.output)
        first = getattr(rank_zero_only, "rank", 0) == 0
        with ExitStack() as stack:
            if first:
                _make_folder(run)
                stack.enter_context(RunLock(run))
                refuse_differences(run, plan.config)
                merge_parts(run / names.RECORDS)
                stack.enter_context(log_file(run / names.LOG))
            _Run(plan, run, given, first).answer()
            if not first:
                return Result.of_other_process(run)
            logger.info("scoring")
            return score(run)


@dataclass
class _Run:
    """The state of one call of `evaluate`."""

    plan: Plan
    folder: Path
    given: dict[str, Any]
    first: bool

    def answer(self) -> None:
        """Answer what no earlier run has answered."""
        config = self.plan.config
        done = {r["key"] for r in self._records() if r["status"] == "ok"}
        environment = describe_environment(self.plan)
        if self.first:
            refuse_changes(self.folder, environment)
            self._write(environment)
        total = sum(len(cell.benchmark.samples()) for cell in self.plan.cells)
        order = [c.key(s.id) for c in self.plan.cells for s in c.benchmark.samples()]
        expected = set(order)
        known = len(done & expected)
        if known:
            logger.info("%d of %d answers are there from an earlier run", known, total)
        parts = len({(cell.model.name, cell.method) for cell in self.plan.cells})
        progress = RunProgress(total, done=known, parts=parts, visible=self.first)
        with progress:
            if known:
                progress.note(f"{known} of {total} answers are there from an earlier run")
            for model in config.models:
                cells = self.plan.of_model(model)
                methods = list(dict.fromkeys(cell.method for cell in cells))
                by_method = [[c for c in cells if c.method == name] for name in methods]
                unfinished = [part for part in by_method if any(_rest(c, done) for c in part)]
                progress.skip(len(by_method) - len(unfinished))
                if not unfinished:
                    continue
                progress.describe(f"loading {model.name}")
                lvlm = load_model(model, self.given.get(model.name))
                environment["models"][model.name] = describe_model(lvlm, model.source)
                if self.first:
                    refuse_changes(self.folder, environment)
                    self._write(environment)
                for part in unfinished:
                    with progress.part(f"{model.name} · {part[0].method}"):
                        self._predict(lvlm, part, done, progress)
        if self.first:
            missing = expected - {record["key"] for record in self._records()}
            if missing:
                raise LvlmsalError(
                    f"{len(missing)} answers are missing, {min(missing)} among them, though "
                    "the run came to its end: give the same command again"
                )
            put_in_order(self.folder / names.RECORDS, order)

    def _records(self) -> list[dict[str, Any]]:
        # parts first: whoever merges them writes the main file before it deletes them
        parts = sorted(self.folder.glob("records.rank*.jsonl"))
        found = [record for part in parts for record in read_records(part)]
        return [*found, *read_records(self.folder / names.RECORDS, repair=self.first)]

    def _write(self, environment: dict[str, Any]) -> None:
        path = self.folder / names.ENVIRONMENT
        write_config(self.folder, self.plan.config)
        write_subsets(self.folder, self.plan)
        write_json(path, {**environment, "models": {**_models(path), **environment["models"]}})

    def _predict(
        self, lvlm: Lvlm, cells: Sequence[Cell], done: set[str], progress: RunProgress
    ) -> None:
        """Answer what is left of one model with one method, on all benchmarks together."""
        config, first = self.plan.config, cells[0]
        share = config.share_images and can_share(first.decoder, first.interventions)
        batches = list(make_batches(cells, done, size=config.batch_size, share=share))
        callback = RecordCallback(
            self.folder / names.RECORDS,
            max_failures=config.max_failures,
            advance=progress.advance,
        )
        title = f"{first.model.name} · {first.method}"
        logger.info("%s: %d samples", title, sum(len(batch.tasks) for batch in batches))
        started = time.perf_counter()
        trainer = make_trainer(config.trainer, callback)
        with interrupts(callback):
            trainer.predict(
                AnswerModule(lvlm, batches, config.batch_size),
                datamodule=AnswerData(batches, config.workers),
                return_predictions=False,
            )
        logger.info("%s: done in %.1f s", title, time.perf_counter() - started)


def load_model(model: ModelConfig, ready: Any = None) -> Lvlm:
    """The model that a config names.

    Args:
        model: The entry of the config.
        ready: An `Lvlm`, which is taken as it is, or a pair of model and processor to load from.
    """
    if ready is not None and not isinstance(ready, tuple):
        lvlm: Lvlm = ready
        return lvlm
    logger.info("loading %s", model.source)
    with no_loading_bar():
        return load(
            ready or model.source,
            dtype=model.dtype,
            revision=model.revision,
            trust_remote_code=model.trust_remote_code,
            device_map=model.device_map,
        )


def _rest(cell: Cell, done: set[str]) -> list[str]:
    return [s.id for s in cell.benchmark.samples() if cell.key(s.id) not in done]


def _models(path: Path) -> dict[str, Any]:
    """Models that an earlier run has described."""
    if not path.is_file():
        return {}
    models: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["models"]
    return models


def _make_folder(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([f"output: {run} cannot be made: {error.strerror}"]) from error
