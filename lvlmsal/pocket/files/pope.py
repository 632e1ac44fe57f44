"""POPE's questions, and what of the absent a habit or a prior would expect in a scene."""

from __future__ import annotations

import random
from typing import Any, Final

from lvlmsal.pocket.files.world import Scene, Scenes, World

POPE_SPLITS: Final = ("random", "popular", "adversarial")
"""The orders in which POPE asks about absent objects."""

_MOST_PER_ANSWER: Final = 3


def absent_classes(world: World, scene: Scene, split: str, rng: random.Random) -> list[str]:
    """Classes that are not in a scene, in the order in which a POPE split asks about them.

    Frequencies and co-occurrences are those of the distribution that the models are trained on,
    also for shifted scenes: what a prior is, the training decides.

    Args:
        world: The world of the scene.
        scene: The scene.
        split: ``random`` (any order), ``popular`` (most frequent first) or ``adversarial`` (those
            first that most often stand with the present ones).
        rng: Decides the order in ``random``.

    Returns:
        All absent classes.

    Raises:
        ValueError: There is no such split.
    """
    absent = list(scene.absent)
    if split == "random":
        rng.shuffle(absent)
        return absent
    frequency, together = world.statistics
    if split == "popular":
        return sorted(absent, key=lambda name: (-frequency[name], name))
    if split == "adversarial":

        def company(name: str) -> int:
            return sum(together[present, name] for present in scene.present)

        return sorted(absent, key=lambda name: (-company(name), name))
    raise ValueError(f"unknown POPE split {split!r}; known: {', '.join(POPE_SPLITS)}")


def pope_questions(world: World, scenes: Scenes, split: str, seed: int) -> list[dict[str, Any]]:
    """Questions of one POPE split.

    Each image gets three questions about present classes and three about absent ones, in turn; one
    with fewer present classes gets as many of both. So labels balance in each image and in the
    file.

    Args:
        world: The world of the scenes.
        scenes: Pairs of image id and scene.
        split: One of `POPE_SPLITS`.
        seed: Decides which present classes are asked about.

    Returns:
        Rows with ``question_id`` (from 1), ``image``, ``text`` and ``label``.
    """
    rows: list[dict[str, Any]] = []
    for image_id, scene in scenes:
        rng = random.Random(f"pope/{world.version}/{seed}/{split}/{image_id}")
        asked = rng.sample(scene.present, min(_MOST_PER_ANSWER, len(scene.present)))
        absent = absent_classes(world, scene, split, rng)[: len(asked)]
        for pair in zip(asked, absent, strict=True):
            for name, label in zip(pair, ("yes", "no"), strict=True):
                rows.append(
                    {
                        "question_id": len(rows) + 1,
                        "image": world.file_name(image_id),
                        "text": world.exists_question(name),
                        "label": label,
                    }
                )
    return rows
