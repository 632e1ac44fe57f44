"""The endless stream of training batches, and what is measured on its scenes beforehand."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

import torch
from torch.utils.data import IterableDataset, get_worker_info

from lvlmsal.pocket.training.data import (
    Batch,
    Encoder,
    Mix,
    collate,
    sample_scene,
    sample_segments,
    seen_part,
)


def make_batch(encoder: Encoder, stream: str, index: int, mix: Mix) -> Batch:
    """Batch number `index` of a stream; the same arguments always yield the same batch."""
    views, rows, world = [], [], encoder.pocket.world
    for place in range(mix.rows):
        rng = random.Random(f"{stream}/{index}/{place}")
        scene = sample_scene(world, mix, rng)
        views.append(world.view(scene))
        segments = sample_segments(encoder.pocket, scene, mix, rng)
        rows.append(encoder.row(views[-1], segments, mix, rng))
    return collate(encoder, views, rows)


def make_tower_batch(encoder: Encoder, stream: str, index: int, rows: int) -> Batch:
    """Images and patch labels alone, for the stage that trains the vision part."""
    world = encoder.pocket.world
    scenes = [world.crowd(random.Random(f"{stream}/{index}/{place}")) for place in range(rows)]
    return seen_part(encoder.pocket, [world.view(scene) for scene in scenes])


class TrainingBatches(IterableDataset[Batch]):
    """Endless training batches from `first` on, so that a resumed run goes on where it stopped.

    Args:
        encoder: Makes the sequences.
        seed: Seed of the stream.
        first: Number of the first batch.
        mix: Says what the batch of a number is made of.
        tower_rows: Says how many images the batch of a number has if it is one for the vision part
            alone, or 0 if it is a whole one.
    """

    def __init__(
        self,
        encoder: Encoder,
        seed: int,
        first: int,
        mix: Callable[[int], Mix],
        tower_rows: Callable[[int], int],
    ) -> None:
        """See the class."""
        self.encoder, self.seed, self.first, self.mix = encoder, seed, first, mix
        self.tower_rows = tower_rows

    def __iter__(self) -> Iterator[Batch]:
        """Yield batch after batch; of several workers each yields its share of them."""
        worker = get_worker_info()
        start, step = (worker.id, worker.num_workers) if worker else (0, 1)
        stream = f"train/{self.seed}"
        for index in itertools.count(self.first + start, step):
            rows = self.tower_rows(index)
            if rows:
                yield make_tower_batch(self.encoder, stream, index, rows)
            else:
                yield make_batch(self.encoder, stream, index, self.mix(index))


def whitening(encoder: Encoder, width: int, scenes: int = 200) -> torch.Tensor:
    """Filters that turn patches of training scenes into uncorrelated features of like size.

    A patch embedding that starts from these rather than from noise lets the tower see edges, not
    mostly brightness, from the first step.

    Args:
        encoder: For its image processor.
        width: Number of filters.
        scenes: How many scenes are looked at.

    Returns:
        ``(width, values per patch)`` matrix, in the model's own order of a patch's values.
    """
    batch = make_tower_batch(encoder, "whitening", 0, scenes)
    pixels = encoder.pocket.patches(batch["pixel_values"])
    centered = (pixels - pixels.mean(dim=0)).double()
    values, vectors = torch.linalg.eigh(centered.T @ centered / len(centered))
    # the floor keeps pixel noise, which fills the small components, from being blown up
    floor = values.sum() / len(values) * 0.1
    filters = vectors / (values + floor).sqrt()
    strongest: torch.Tensor = filters.T.flip(0)[:width].float()
    return strongest
