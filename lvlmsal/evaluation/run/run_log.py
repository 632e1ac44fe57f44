"""How a run is watched while it goes on: Lightning's loggers, written into the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from lvlmsal.escaping import csv_cell
from lvlmsal.evaluation.results.schema import Results
from lvlmsal.secrets import hide

FOLDER = "logs"
"""Folder of the logs in the run folder; every call that answers something has its own in there."""


def make_logger(kind: str, folder: Path) -> Logger | None:
    """The logger that a config names; it writes nothing before something is logged.

    Args:
        kind: One of `lvlmsal.evaluation.config.loggers.LOGGERS`, whose package is installed.
        folder: The run folder.
    """
    if kind == "csv":
        # every row at once: a run that is killed leaves what it has logged
        return CSVLogger(folder, name=FOLDER, flush_logs_every_n_steps=1)
    if kind == "tensorboard":
        return TensorBoardLogger(folder, name=FOLDER, default_hp_metric=False)
    if kind == "wandb":
        return WandbLogger(name=hide(folder.name), save_dir=folder, project="lvlmsal")
    return None


class RunLog(Callback):
    """Logs how a run goes on, batch by batch, and its figures at the end.

    The step is the number of samples that are answered, those of earlier calls included, so that a
    run that is continued goes on where it stopped. Among several processes the first one logs what
    it answers itself.

    Args:
        kind: As in `make_logger`.
        folder: The run folder.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.logger = make_logger(kind, folder)
        self._step = self._tokens = self._failures = self._part = 0
        self._used = False

    def start(self, done: int) -> None:
        """Say how many samples are answered already."""
        self._step = done

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the parts of the run: one model with one method and seed each."""
        self._part += 1

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Log a batch."""
        if self.logger is None or not outputs:
            return
        tokens = sum(record["new_tokens"] for record in outputs)
        seconds = sum(record["seconds"] for record in outputs)
        self._step += len(outputs)
        self._tokens += tokens
        self._failures += sum(record["status"] == "failed" for record in outputs)
        self._used = True
        values = {
            "part": self._part,
            "tokens": self._tokens,
            "failures": self._failures,
            "seconds_per_sample": seconds / len(outputs),
        }
        if seconds:
            values["tokens_per_second"] = tokens / seconds
        self.logger.log_metrics(values, step=self._step)

    def finish(self, results: Results) -> None:
        """Log the figures of a run, if this call has answered anything.

        Args:
            results: The content of ``results.json``.
        """
        if self.logger is None or not self._used:
            return
        figures: dict[str, float] = {}
        for cell in results["cells"]:
            parts = [cell["model"], cell["method"], cell["benchmark"]]
            if any(c["seed"] != cell["seed"] for c in results["cells"]):
                parts.append(f"seed {cell['seed']}")
            for name, figure in cell["figures"].items():
                if figure["value"] is not None:
                    figures[csv_cell("/".join([*parts, name]))] = figure["value"]
        self.logger.log_metrics(figures, step=self._step)
        self.logger.finalize("success")
