"""The LightningModule that answers samples, and the callbacks that keep what it answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from lvlmsal.adapters import open_image
from lvlmsal.answer import Answer
from lvlmsal.benchmarks.base import Sample
from lvlmsal.errors import DataError
from lvlmsal.evaluation.plan import Cell
from lvlmsal.evaluation.records import Record, RecordWriter, merge_parts
from lvlmsal.lvlm import Lvlm

logger = logging.getLogger(__name__)


class AnswerModule(LightningModule):
    """Answers batches of samples with one model and one method.

    Args:
        lvlm: The model.
        cell: Which decoder, interventions, seed and benchmark.
    """

    def __init__(self, lvlm: Lvlm, cell: Cell) -> None:
        super().__init__()
        self.lvlm = lvlm
        self.cell = cell
        # a submodule, so that the strategy moves it; a model spread by device_map stays in place
        if getattr(lvlm.model, "hf_device_map", None) is None:
            self.model = lvlm.model

    def predict_step(self, batch: list[Sample], batch_idx: int = 0) -> list[Record]:
        """Records of a batch, in its order; a sample whose image is broken becomes a failure."""
        images: list[list[Image.Image]] = []
        good: list[Sample] = []
        errors: dict[str, str] = {}
        for sample in batch:
            try:
                images.append([open_image(path) for path in sample.images])
                good.append(sample)
            except DataError as error:
                errors[sample.id] = str(error)
        started = time.perf_counter()
        answers = self._answer(images, good) if good else []
        seconds = (time.perf_counter() - started) / max(1, len(good))
        found = dict(zip((sample.id for sample in good), answers, strict=True))
        return [
            make_record(
                self.cell,
                sample,
                answer=found.get(sample.id),
                error=errors.get(sample.id, ""),
                seconds=seconds if sample.id in found else 0.0,
                batch_size=len(good),
            )
            for sample in batch
        ]

    def _answer(
        self, images: Sequence[Sequence[Image.Image]], samples: Sequence[Sample]
    ) -> list[Answer]:
        cell = self.cell
        return self.lvlm.generate(
            images,
            [sample.prompt for sample in samples],
            decoder=cell.decoder,
            interventions=cell.interventions,
            max_new_tokens=cell.benchmark.max_new_tokens,
            seed=cell.seed,
            sample_ids=[f"{cell.label}/{sample.id}" for sample in samples],
        )


def make_record(
    cell: Cell,
    sample: Sample,
    *,
    answer: Answer | None,
    error: str,
    seconds: float,
    batch_size: int,
) -> Record:
    """The record of one sample.

    Args:
        cell: What answered.
        sample: What was asked.
        answer: The answer, or None if the sample failed.
        error: Why it failed.
        seconds: Its share of the batch's time.
        batch_size: How many samples were answered together.
    """
    tokens = [_rounded(token.to_dict()) for token in answer.tokens] if answer else []
    return {
        "key": cell.key(sample.id),
        "model": cell.model.name,
        "method": cell.method,
        "benchmark": cell.label,
        "sample_id": sample.id,
        "group": sample.group,
        "images": [path.name for path in sample.images],
        "prompt": sample.prompt,
        "answer": answer.text if answer else None,
        "target": sample.target,
        "status": "ok" if answer else "failed",
        "error": error,
        "new_tokens": len(answer.token_ids) if answer else 0,
        "token_ids": [int(token) for token in answer.token_ids] if answer else [],
        "tokens": tokens if any(token["saliency"] is not None for token in tokens) else [],
        "seconds": round(seconds, 6),
        "batch_size": batch_size,
    }


def _rounded(value: Any) -> Any:
    """Floats with six decimals: what lies behind them is noise of the order of summation."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value


class RecordCallback(Callback):
    """Writes each batch's records as soon as it is answered, one file per process.

    Args:
        path: The records file of the run; other processes than the first write beside it.
        order: Keys of the cell's records in file order.
        max_failures: How many samples may fail.
        advance: Told the number of samples, of tokens and the seconds of each batch.
    """

    def __init__(
        self,
        path: Path,
        *,
        order: Sequence[str],
        max_failures: int,
        advance: Callable[[int, int, float], None],
    ) -> None:
        self._path = path
        self._order = order
        self._max_failures = max_failures
        self._advance = advance
        self._failures = 0
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
        """Write the batch's records.

        Raises:
            DataError: More samples failed than the config allows; those before are written.
        """
        records: list[Record] = outputs
        assert self._writer is not None  # on_predict_start has set it
        kept = []
        try:
            for record in records:
                if record["status"] == "failed":
                    self._failures += 1
                    if self._failures > self._max_failures:
                        raise self._too_many(record)
                    logger.warning("%s: %s", record["key"], record["error"])
                kept.append(record)
        finally:
            self._writer.write(kept)
        self._advance(
            len(records), sum(r["new_tokens"] for r in records), sum(r["seconds"] for r in records)
        )

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the files and put those of all processes together."""
        assert self._writer is not None  # on_predict_start has set it
        self._writer.close()
        trainer.strategy.barrier("lvlmsal-records-written")
        if trainer.is_global_zero:
            merge_parts(self._path, self._order)
        trainer.strategy.barrier("lvlmsal-records-merged")

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
            f"{record['error']}{reason}\nWhat was answered so far is kept: mend the file and give "
            "the same command to go on, or allow failures with max_failures=N"
        )
