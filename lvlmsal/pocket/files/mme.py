"""Tasks of MME: an image and a text file of two lines, next to each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from lvlmsal.pocket.files.pairs import PAIRS
from lvlmsal.pocket.files.world import Scenes, World
from lvlmsal.pocket.scenes.language import YES_OR_NO

MME: Final = "MME_Benchmark_release_version"


def mme_files(world: World, scenes: Scenes, seed: int) -> Iterator[tuple[str, str | PurePosixPath]]:
    """Tasks of MME.

    Args:
        world: The world of the scenes.
        scenes: Pairs of image id and scene.
        seed: Seed of the world.

    Yields:
        Path in the world, and the content or which of the world's files it is a copy of.
    """
    numbered = list(scenes)
    for task, make in PAIRS.items():
        for image_id, scene in numbered:
            pair = make(world, scene, world.questioner(seed, f"mme/{task}", image_id))
            if pair is None:
                continue
            name = world.file_name(image_id)
            path = PurePosixPath(MME, task, name)
            yield str(path), PurePosixPath("images", name)
            lines = [
                f"{text}{YES_OR_NO}\t{label}\n"
                for text, label in zip(pair, ("Yes", "No"), strict=True)
            ]
            yield str(path.with_suffix(".txt")), "".join(lines)
