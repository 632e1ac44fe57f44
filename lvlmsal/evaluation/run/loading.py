"""How samples are put together into batches, and their images opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from lvlmsal.adapters.images import MAX_IMAGE_PIXELS
from lvlmsal.adapters.videos import Opened, Video
from lvlmsal.benchmarks.base import Sample
from lvlmsal.errors import DataError
from lvlmsal.evaluation.config.plan import Cell
from lvlmsal.model.inputs import opened
from lvlmsal.readers.frames import all_frame_files

Pictures = list[Opened] | str
"""The images of a sample, or why they cannot be opened."""


@dataclass(frozen=True)
class Task:
    """A sample that a cell of the plan asks for.

    Attributes:
        cell: What answers.
        sample: What is asked.
    """

    cell: Cell
    sample: Sample

    @property
    def key(self) -> str:
        """Key of its record."""
        return self.cell.key(self.sample.id)

    @property
    def max_new_tokens(self) -> int:
        """Length limit of its answer."""
        return self.cell.benchmark.max_new_tokens


@dataclass(frozen=True)
class Batch:
    """Tasks that are answered together; they have the same length limit.

    Attributes:
        tasks: At least one.
        shared: Whether all of them ask about the same images.
    """

    tasks: tuple[Task, ...]
    shared: bool


def make_batches(
    cells: Sequence[Cell], done: Set[str], *, size: int, share: bool
) -> Iterator[Batch]:
    """Batches of what a model has to answer with one method.

    Questions about the same images, of whatever benchmark, make up a batch of their own, however
    many they are: they share the images' keys and values. The others are batched by length, so that
    little of a batch is padding.

    Args:
        cells: One model with one method and seed on several benchmarks.
        done: Keys of records that are there.
        size: Samples in a batch of the others.
        share: Whether model and method allow shared prefixes.
    """
    tasks = [Task(cell, sample) for cell in cells for sample in cell.benchmark.samples()]
    groups: dict[tuple[Any, ...], list[Task]] = {}
    for task in tasks:
        if task.key not in done:
            images = task.sample.images
            own = () if share and images else (task.key,)
            groups.setdefault((images, task.max_new_tokens, *own), []).append(task)
    alone = []
    for group in groups.values():
        if len(group) > 1:
            yield Batch(tuple(group), shared=True)
        else:
            alone += group
    alone.sort(key=_length)
    while alone:
        limit = alone[0].max_new_tokens
        batch = [task for task in alone[:size] if task.max_new_tokens == limit]
        alone = alone[len(batch) :]
        yield Batch(tuple(batch), shared=False)


def shown(sample: Sample) -> list[Path | Video]:
    """What a model is asked about: the images of a sample, or a video of them."""
    if not sample.is_video:
        return list(sample.images)
    every = all_frame_files(sample.images[0].parent)
    return [Video(every, fps=sample.fps, num_frames=len(sample.images))]


def _length(task: Task) -> tuple[int, int, int]:
    """What tasks are sorted by; characters stand in for tokens, which no tokenizer has made yet."""
    return task.max_new_tokens, len(task.sample.images), len(task.sample.prompt)


class OpenedBatches(Dataset[tuple[int, list[Pictures]]]):
    """The number of each batch with the images of its samples, in their order.

    Args:
        batches: What is to be answered.
        max_pixels: A sample with an image of more pixels fails.
    """

    def __init__(self, batches: Sequence[Batch], max_pixels: int = MAX_IMAGE_PIXELS) -> None:
        self._max_pixels = max_pixels
        # paths only: this object is sent to worker processes
        self._paths = [[shown(task.sample) for task in batch.tasks] for batch in batches]
        self._shared = [batch.shared for batch in batches]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> tuple[int, list[Pictures]]:
        paths = self._paths[number]
        if self._shared[number]:
            return number, [self._open(paths[0])] * len(paths)
        return number, [self._open(entry) for entry in paths]

    def _open(self, paths: Sequence[Any]) -> Pictures:
        try:
            return opened(list(paths), max_pixels=self._max_pixels)
        except DataError as error:
            return str(error)


def _as_it_is(entry: Any) -> Any:
    """Without this, a loader copies the lists."""
    return entry


class AnswerData(LightningDataModule):
    """Batches for Lightning's Trainer, distributed round-robin to its processes.

    Args:
        batches: What is to be answered.
        workers: Processes that open images while the model answers; 0 opens them in between.
        max_pixels: A sample with an image of more pixels fails.
    """

    def __init__(
        self, batches: Sequence[Batch], workers: int, max_pixels: int = MAX_IMAGE_PIXELS
    ) -> None:
        super().__init__()
        # a run may have fewer batches left than processes
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.batches = list(batches)
        self._workers = workers
        self._max_pixels = max_pixels

    def predict_dataloader(self) -> DataLoader[tuple[int, list[Pictures]]]:
        """One batch an item: what belongs together is decided here and not by the loader."""
        trainer = self.trainer
        first, step = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return DataLoader(
            OpenedBatches(self.batches, self._max_pixels),
            # Lightning's own sampler fails where a process is left without a batch
            sampler=range(first, len(self.batches), step),
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self._workers,
            prefetch_factor=2 if self._workers else None,
        )

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Leave images as they are: the adapter puts what it makes of them on the device."""
        return batch
