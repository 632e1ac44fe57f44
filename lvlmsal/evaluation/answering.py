"""The LightningModule that answers samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule
from PIL import Image

from lvlmsal.adapters import open_image
from lvlmsal.answer import Answer
from lvlmsal.benchmarks.base import Sample
from lvlmsal.errors import DataError
from lvlmsal.evaluation.plan import Cell
from lvlmsal.evaluation.records import Record
from lvlmsal.lvlm import Lvlm


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
