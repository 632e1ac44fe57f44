"""The Lightning callback that keeps what is answered, one file per process."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lvlmsal.errors import DataError
from lvlmsal.evaluation.results.records import Record
from lvlmsal.evaluation.results.writing import RecordWriter

logger = logging.getLogger(__name__)


class RecordCallback(Callback):
    """Writes each batch's records as soon as it is answered, one file per process.

    Args:
        path: The records file of the run; other processes than the first write next to it.
        done: Keys of samples that were answered before, whose records stay as they are.
        max_failures: How many samples of one benchmark may fail in this process.
        advance: Told the number of samples, of tokens and the seconds of each batch.
    """

    def __init__(
        self,
        path: Path,
        *,
        done: Set[str],
        max_failures: int,
        advance: Callable[[int, int, float], None],
    ) -> None:
        self._path = path
        self._done = done
        self._max_failures = max_failures
        self._advance = advance
        self._failures: Counter[str] = Counter()
        self._writer: RecordWriter | None = None
        self.interrupted = False

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose this process's file."""
        rank = trainer.global_rank
        path = self._path if rank == 0 else self._path.with_name(f"records.rank{rank}.jsonl")
        self._writer = RecordWriter(path)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the batch's records, and then stop if too many have failed.

        Raises:
            DataError: More samples failed than the config allows.
            LvlmsalError: The records cannot be written.
        """
        assert self._writer is not None  # on_predict_start has set it
        records: list[Record] = [record for record in outputs if record["key"] not in self._done]
        self._writer.write(records)
        for record in records:
            if record["status"] == "failed":
                logger.warning("%s: %s", record["key"], record["error"])
                self._failures[record["benchmark"]] += 1
                if self._failures[record["benchmark"]] > self._max_failures:
                    raise self._too_many(record)
        self._advance(
            len(records), sum(r["new_tokens"] for r in records), sum(r["seconds"] for r in records)
        )

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the file."""
        assert self._writer is not None  # on_predict_start has set it
        self._writer.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the file; note a keyboard interrupt, which Lightning turns into an exit."""
        self.interrupted = isinstance(exception, KeyboardInterrupt)
        if self._writer is not None:
            self._writer.close()

    def _too_many(self, record: Record) -> DataError:
        allowed = self._max_failures
        reason = "" if allowed == 0 else f" ({allowed} failures are allowed by max_failures)"
        return DataError(
            f"{record['error']}{reason}\nWhat was answered so far is kept: fix the file and rerun "
            "the same command to resume, or allow failures with max_failures=N"
        )
