"""What is not in a scene, and which of it a habit or a prior would expect there."""

from __future__ import annotations

import random
from typing import Final

from lvlmsal.pocket.scenes.scene import Scene, training_statistics

POPE_SPLITS: Final = ("random", "popular", "adversarial")
"""The orders in which POPE asks about absent objects."""


def absent_shapes(scene: Scene, split: str, rng: random.Random) -> list[str]:
    """Shapes that are not in a scene, in the order in which a POPE split asks about them.

    Frequencies and co-occurrences are those of the distribution that the models are trained on,
    also for shifted scenes: what a prior is, the training decides.

    Args:
        scene: The scene.
        split: ``random`` (any order), ``popular`` (most frequent first) or ``adversarial`` (those
            first that most often stand with the present ones).
        rng: Decides the order in ``random``.

    Returns:
        All absent shapes.

    Raises:
        ValueError: There is no such split.
    """
    absent = list(scene.absent)
    if split == "random":
        rng.shuffle(absent)
        return absent
    frequency, together = training_statistics()
    if split == "popular":
        return sorted(absent, key=lambda shape: (-frequency.get(shape, 0), shape))
    if split == "adversarial":

        def company(shape: str) -> int:
            return sum(together.get((present, shape), 0) for present in scene.present)

        return sorted(absent, key=lambda shape: (-company(shape), shape))
    raise ValueError(f"unknown POPE split {split!r}; known: {', '.join(POPE_SPLITS)}")
