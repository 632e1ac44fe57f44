"""`evaluate`: a checked plan, answered cell by cell, then scored."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from lvlmsal.attention.editor import fitted
from lvlmsal.errors import ConfigError, LvlmsalError
from lvlmsal.evaluation.config.plan import Cell, Plan, make_plan
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.config.trainer import make_trainer, quiet_lightning
from lvlmsal.evaluation.report.result import Result
from lvlmsal.evaluation.report.run_scoring import score
from lvlmsal.evaluation.results import names
from lvlmsal.evaluation.results.config_changes import refuse_differences
from lvlmsal.evaluation.results.locks import RunLock
from lvlmsal.evaluation.results.records import all_records
from lvlmsal.evaluation.results.writing import merge_parts, put_in_order
from lvlmsal.evaluation.run.answering import AnswerModule
from lvlmsal.evaluation.run.dry import DryRun
from lvlmsal.evaluation.run.dry import dry_run as try_config
from lvlmsal.evaluation.run.environment import describe_model, describe_unloaded
from lvlmsal.evaluation.run.guards import (
    disk_errors,
    ends_on_sigterm,
    interrupts,
    log_file,
    no_loading_bar,
)
from lvlmsal.evaluation.run.loading import AnswerData
from lvlmsal.evaluation.run.notes import Notes, as_begun
from lvlmsal.evaluation.run.processes import KeepSignals, Watch
from lvlmsal.evaluation.run.progress import RunProgress
from lvlmsal.evaluation.run.recording import RecordCallback
from lvlmsal.evaluation.run.resuming import (
    Known,
    check_failures,
    check_records,
    open_batches,
    read_known,
)
from lvlmsal.evaluation.run.run_log import RunLog
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.model.shared_prefix import can_share

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from lvlmsal.evaluation.config.schema import ModelConfig

logger = logging.getLogger(__name__)


@overload
def evaluate(
    cfg: ConfigSource,
    overrides: Iterable[str] = ...,
    *,
    models: Mapping[str, Any] | None = ...,
    dry_run: Literal[False] = ...,
) -> Result: ...


@overload
def evaluate(
    cfg: ConfigSource,
    overrides: Iterable[str] = ...,
    *,
    models: Mapping[str, Any] | None = ...,
    dry_run: Literal[True],
) -> DryRun: ...


def evaluate(
    cfg: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    models: Mapping[str, Any] | None = None,
    dry_run: bool = False,
) -> Result | DryRun:
    """Answer every sample of every benchmark with every model and method, then score the answers.

    The whole config is checked before any weights are loaded. Each answer is written to the run
    folder as soon as it is there; giving the same config again continues a run that was stopped,
    and does nothing but score where all answers are there.

    Args:
        cfg: A YAML file, the name of a packaged config (``demo``), a dictionary or an OmegaConf
            object; `lvlmsal.evaluation.config.schema` says what it may hold.
        overrides: Texts ``key=value``, see `lvlmsal.evaluation.config.reading.read_config`.
        models: Models that are already loaded, by the name that the config gives them: an
            `lvlmsal.Lvlm` or a pair of model and processor. The config's `source` then names
            where they come from and loads nothing.
        dry_run: Only try the config on tiny random models, and write nothing; see
            `lvlmsal.evaluation.run.dry.dry_run`.

    Returns:
        The figures and where everything lies; of a dry run, what was tried.

    Raises:
        ConfigError: The config is wrong, or the run folder holds another config's run.
        DataError: A file of a benchmark is damaged.
        LvlmsalError: A checkpoint cannot be loaded, the folder cannot be written, another process
            writes to it, or a process of the run was lost.
        SystemExit: SIGTERM was received; the exit code is 143 and what was answered is kept.
    """
    given = dict(models or {})
    if dry_run:
        return try_config(cfg, overrides, models=given)
    with quiet_lightning(), ends_on_sigterm():
        plan = make_plan(cfg, overrides, given=list(given))
        run = Path(plan.config.output)
        trainer = make_trainer(plan.config.trainer)
        first = trainer.is_global_zero
        with ExitStack() as stack:
            _make_folder(run)
            if first:
                stack.enter_context(RunLock(run))
                refuse_differences(run, plan.config)
                check_records(run / names.RECORDS, plan, samples=False)
                stack.enter_context(log_file(run / names.LOG))
            watch = stack.enter_context(
                Watch(run, rank=trainer.global_rank, processes=trainer.world_size)
            )
            log = RunLog(plan.config.logger, run)
            _Run(plan, run, given, trainer, watch, log).answer()
            if not first:
                return Result.of_other_process(run)
            logger.info("scoring")
            result = score(run)
            log.finish(result.results)
            return result


@dataclass
class _Run:
    """The state of one call of `evaluate`."""

    plan: Plan
    folder: Path
    given: dict[str, Any]
    trainer: Trainer
    watch: Watch
    log: RunLog

    def answer(self) -> None:
        """Answer what no earlier run has answered."""
        config, first = self.plan.config, self.trainer.is_global_zero
        path = self.folder / names.RECORDS
        known = read_known(path)
        done = known.done
        notes = None
        if first:
            device = self.trainer.strategy.root_device
            notes = Notes(self.folder, self.plan, all_records(path), device)
            check_records(path, self.plan)
        total = sum(len(cell.benchmark.samples()) for cell in self.plan.cells)
        order = [c.key(s.id) for c in self.plan.cells for s in c.benchmark.samples()]
        expected = set(order)
        there = len(done & expected)
        self.log.start(there)
        if there:
            logger.info("%d of %d answers are there from an earlier run", there, total)
        parts = len({(cell.model.name, cell.method, cell.seed) for cell in self.plan.cells})
        progress = RunProgress(
            total,
            done=there,
            parts=parts,
            visible=first,
            processes=self.trainer.world_size,
        )
        with progress:
            if there:
                progress.note(f"{there} of {total} answers are there from an earlier run")
            for model in config.models:
                cells = self.plan.of_model(model)
                ways = list(dict.fromkeys((cell.method, cell.seed) for cell in cells))
                by_way = [[c for c in cells if (c.method, c.seed) == way] for way in ways]
                unfinished = [part for part in by_way if any(_rest(c, done) for c in part)]
                progress.skip(len(by_way) - len(unfinished))
                ready = self.given.get(model.name)
                if not unfinished:
                    if notes is not None:
                        notes.add_model(model.name, describe_unloaded(model, ready))
                    continue
                progress.describe(f"loading {model.name}")
                entry = as_begun(self.folder, model) if ready is None else model
                lvlm = load_model(entry, ready)
                if notes is not None:
                    notes.add_model(model.name, describe_model(lvlm, model.source))
                for part in unfinished:  # what they lack is told before hours of answers
                    part[0].decoder.bind(lvlm.adapter)
                    for edit in part[0].interventions:
                        fitted(edit, lvlm.adapter)
                for part in unfinished:
                    with progress.part(self._title(part[0])):
                        self._predict(lvlm, part, known, progress)
        if first:
            merge_parts(path)
            missing = expected - all_records(path).keys()
            if missing:
                raise LvlmsalError(
                    f"{len(missing)} answers are missing, {min(missing)} among them, though "
                    "the run came to its end: give the same command again"
                )
            put_in_order(path, order)
            check_failures(path, self.plan, config.max_failures)

    def _title(self, cell: Cell) -> str:
        """How progress and log call a model with a method, and a seed where there are several."""
        several = len(self.plan.config.all_seeds()) > 1 and cell.decoder.is_random
        seed = f" · seed {cell.seed}" if several else ""
        return f"{cell.model.name} · {cell.method}{seed}"

    def _predict(
        self, lvlm: Lvlm, cells: Sequence[Cell], known: Known, progress: RunProgress
    ) -> None:
        """Answer what is left of one model with one method, on all benchmarks together."""
        config, first = self.plan.config, cells[0]
        share = config.share_images and can_share(first.decoder, first.interventions)
        batches = open_batches(cells, known, size=config.batch_size, share=share)
        callback = RecordCallback(
            self.folder / names.RECORDS,
            done=known.done,
            max_failures=config.max_failures,
            advance=progress.answered,
        )
        title = self._title(first)
        logger.info("%s: %d samples", title, sum(len(batch.tasks) for batch in batches))
        started = time.perf_counter()
        trainer = make_trainer(
            config.trainer, callback, self.log, KeepSignals(self.watch), logger=self.log.logger
        )
        self.watch.follow(trainer)
        with interrupts(callback), disk_errors():
            trainer.predict(
                AnswerModule(lvlm, batches, config.batch_size),
                datamodule=AnswerData(batches, config.workers, lvlm.adapter.max_image_pixels),
                return_predictions=False,
            )
            # the first process reads what the others have written
            trainer.strategy.barrier("lvlmsal-answered")
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
            image_backend=model.image_backend,
            max_image_pixels=model.max_image_pixels,
        )


def _rest(cell: Cell, done: Set[str]) -> list[str]:
    return [s.id for s in cell.benchmark.samples() if cell.key(s.id) not in done]


def _make_folder(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([f"output: {run} cannot be made: {error.strerror}"]) from error
