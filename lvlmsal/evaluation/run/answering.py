"""The LightningModule that answers batches of samples."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule

from lvlmsal.adapters.videos import Opened
from lvlmsal.errors import DataError, is_out_of_memory
from lvlmsal.evaluation.results.records import Record
from lvlmsal.evaluation.run.loading import Batch, Pictures, Task
from lvlmsal.model.answer import Answer
from lvlmsal.model.lvlm import Lvlm

logger = logging.getLogger(__name__)


class AnswerModule(LightningModule):
    """Answers batches of samples with one model and one method.

    A batch that does not fit into memory is answered in halves, and later ones are no larger than
    what did fit; a sample that does not fit alone becomes a failure. So is a batch with a sample
    that the model's processor refuses, until that one is alone.

    Args:
        lvlm: The model.
        batches: What is asked; a loader names them by number.
        size: How many samples are decoded together at most.
    """

    def __init__(self, lvlm: Lvlm, batches: Sequence[Batch], size: int) -> None:
        super().__init__()
        self.lvlm = lvlm
        self.batches = batches
        self.size = size
        # a submodule, so that the strategy moves it; a model spread by device_map stays in place
        if getattr(lvlm.model, "hf_device_map", None) is None:
            self.model = lvlm.model

    def predict_step(self, loaded: tuple[int, list[Pictures]], batch_idx: int = 0) -> list[Record]:
        """Records of a batch, in its order; a sample that cannot be answered becomes a failure.

        Args:
            loaded: The number of the batch, and the images of each of its samples or why they
                cannot be opened.
            batch_idx: Lightning's count, which says nothing here.
        """
        number, pictures = loaded
        batch = self.batches[number]
        records: dict[str, Record] = {}
        good: list[tuple[Task, list[Opened]]] = []
        for task, images in zip(batch.tasks, pictures, strict=True):
            if isinstance(images, str):
                records[task.key] = make_record(task, error=images)
            else:
                good.append((task, images))
        if good:
            records.update(self._answered(good, shared=batch.shared))
        return [records[task.key] for task in batch.tasks]

    def _answered(
        self, entries: Sequence[tuple[Task, list[Opened]]], *, shared: bool
    ) -> dict[str, Record]:
        """Records of samples whose images are there, in as few passes as fit into memory."""
        tasks = [task for task, _ in entries]
        cuda = self.device.type == "cuda"
        if not shared and len(entries) > self.size:
            return self._halves(entries, shared=shared)
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        started = time.perf_counter()
        refused = False
        try:
            answers = self._ask(tasks, [images for _, images in entries], shared=shared)
        except DataError as error:
            reason, refused = str(error), True
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = f"out of memory: {str(error).splitlines()[0] if str(error) else 'no detail'}"
        else:
            seconds = (time.perf_counter() - started) / len(entries)
            peak = torch.cuda.max_memory_allocated(self.device) if cuda else None
            decoded = min(self.size, len(entries))
            return {
                task.key: make_record(
                    task, answer=answer, seconds=seconds, batch_size=decoded, peak_memory=peak
                )
                for task, answer in zip(tasks, answers, strict=True)
            }
        # outside of the handler, whose traceback keeps the tensors of the failed pass alive
        gc.collect()
        if cuda:
            torch.cuda.empty_cache()
        size = min(self.size, len(entries))
        if len(entries) == 1:
            return {tasks[0].key: make_record(tasks[0], error=reason)}
        if size > 1 and not refused:
            self.size = size // 2
            logger.warning("%d samples at once do not fit, going on with %d", size, self.size)
            return self._answered(entries, shared=shared)
        return self._halves(entries, shared=shared)

    def _halves(
        self, entries: Sequence[tuple[Task, list[Opened]]], *, shared: bool
    ) -> dict[str, Record]:
        middle = (len(entries) + 1) // 2
        return {
            **self._answered(entries[:middle], shared=shared),
            **self._answered(entries[middle:], shared=shared),
        }

    def _ask(
        self, tasks: Sequence[Task], images: Sequence[list[Opened]], *, shared: bool
    ) -> list[Answer]:
        cell = tasks[0].cell
        prompts = [task.sample.prompt for task in tasks]
        options: dict[str, Any] = {
            "decoder": cell.decoder,
            "interventions": cell.interventions,
            "max_new_tokens": tasks[0].max_new_tokens,
            "seed": cell.seed,
            "sample_ids": [f"{task.cell.label}/{task.sample.id}" for task in tasks],
        }
        if shared and len(tasks) > 1:
            return self.lvlm.ask(images[0], prompts, batch_size=self.size, **options)
        return self.lvlm.generate(images, prompts, **options)


def make_record(
    task: Task,
    *,
    answer: Answer | None = None,
    error: str = "",
    seconds: float = 0.0,
    batch_size: int = 0,
    peak_memory: int | None = None,
) -> Record:
    """The record of one sample.

    Args:
        task: What was asked, and of whom.
        answer: The answer, or None if the sample failed.
        error: Why it failed.
        seconds: Its share of the batch's time.
        batch_size: How many samples were answered together.
        peak_memory: Most bytes that the device held meanwhile, where it tells.
    """
    cell, sample = task.cell, task.sample
    tokens = [_rounded(token.to_dict()) for token in answer.tokens] if answer else []
    return {
        "key": task.key,
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
        "tokens": tokens if any(map(_is_judged, tokens)) else [],
        "seconds": round(seconds, 6),
        "batch_size": batch_size,
        "forwards": answer.forwards if answer else 0,
        "peak_memory": peak_memory,
    }


def _is_judged(token: dict[str, Any]) -> bool:
    """Whether the decoder has looked at a token more closely than at its probability."""
    return token["saliency"] is not None or token.get("risk") is not None


def _rounded(value: Any) -> Any:
    """Floats with six decimals: what lies behind them is noise of the order of summation."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value
