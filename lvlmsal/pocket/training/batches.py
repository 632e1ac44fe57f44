"""The endless stream of training batches, and what is measured on its scenes beforehand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import IterableDataset

from lvlmsal.pocket.scenes.draw import draw
from lvlmsal.pocket.scenes.scene import sample_crowd, sample_scene
from lvlmsal.pocket.training.build import PATCH
from lvlmsal.pocket.training.data import Batch, Encoder, Mix, collate, sample_segments


def make_batch(encoder: Encoder, stream: str, index: int, mix: Mix) -> Batch:
    """Batch number `index` of a stream; the same arguments always yield the same batch."""
    scenes, rows = [], []
    for place in range(mix.rows):
        rng = random.Random(f"{stream}/{index}/{place}")
        scene = sample_scene(rng)
        scenes.append(scene)
        rows.append(encoder.row(scene, sample_segments(scene, mix, rng), mix, rng))
    return collate(encoder, scenes, rows)


def make_tower_batch(encoder: Encoder, stream: str, index: int, rows: int) -> Batch:
    """Images and patch labels alone, for the stage that trains the vision part."""
    scenes = [sample_crowd(random.Random(f"{stream}/{index}/{place}")) for place in range(rows)]
    labels = np.concatenate([encoder.labels(scene) for scene in scenes])
    images = [Image.fromarray(draw(scene)) for scene in scenes]
    return {"patches": torch.from_numpy(labels), **encoder.pixels(images)}


class TrainingBatches(IterableDataset[Batch]):
    """Endless training batches from `first` on, so that a resumed run goes on where it stopped.

    Args:
        encoder: Makes the sequences.
        seed: Seed of the stream.
        first: Number of the first batch.
        mix: Says, for each batch, what it is made of.
        tower_rows: Says, for each batch, how many images it has if it is one for the vision part
            alone, or 0 if it is a whole one.
    """

    def __init__(
        self,
        encoder: Encoder,
        seed: int,
        first: int,
        mix: Callable[[], Mix],
        tower_rows: Callable[[], int],
    ) -> None:
        """See the class."""
        self.encoder, self.seed, self.first, self.mix = encoder, seed, first, mix
        self.tower_rows = tower_rows

    def __iter__(self) -> Iterator[Batch]:
        """Yield batch after batch."""
        index, stream = self.first, f"train/{self.seed}"
        while True:
            rows = self.tower_rows()
            if rows:
                yield make_tower_batch(self.encoder, stream, index, rows)
            else:
                yield make_batch(self.encoder, stream, index, self.mix())
            index += 1


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
    pixels = make_tower_batch(encoder, "whitening", 0, scenes)["pixel_values"]
    if encoder.is_llava:
        blocks = nn.functional.unfold(pixels, PATCH, stride=PATCH)
        pixels = blocks.transpose(1, 2).flatten(0, 1)
    centered = (pixels - pixels.mean(dim=0)).double()
    values, vectors = torch.linalg.eigh(centered.T @ centered / len(centered))
    # the floor keeps pixel noise, which fills the small components, from being blown up
    floor = values.sum() / len(values) * 0.1
    filters = vectors / (values + floor).sqrt()
    strongest: torch.Tensor = filters.T.flip(0)[:width].float()
    return strongest
