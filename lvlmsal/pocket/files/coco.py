"""Objects and captions as COCO has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lvlmsal.pocket.files.world import Scene, Seen, World

CAPTIONS_PER_IMAGE: Final = 2


@dataclass(frozen=True)
class Shot:
    """A scene that has been drawn.

    Attributes:
        image_id: From 1.
        scene: The scene.
        size: (width, height) of its picture, pixels.
        objects: Its objects.
    """

    image_id: int
    scene: Scene
    size: tuple[int, int]
    objects: Sequence[Seen]


def instances(world: World, shots: Sequence[Shot]) -> dict[str, Any]:
    """Objects of scenes as COCO has them.

    Args:
        world: Their world, which names the categories.
        shots: The scenes.

    Returns:
        ``images``, ``annotations`` and ``categories``; boxes are (left, top, width, height).
    """
    found = [(shot.image_id, seen) for shot in shots for seen in shot.objects]
    annotations = [
        {
            "id": number,
            "image_id": image_id,
            "category_id": world.categories[seen.name],
            "bbox": list(seen.box),
            "area": seen.area,
            "iscrowd": 0,
        }
        for number, (image_id, seen) in enumerate(found, start=1)
    ]
    categories = [{"id": number, "name": name} for name, number in world.categories.items()]
    return {"images": images(world, shots), "annotations": annotations, "categories": categories}


def images(world: World, shots: Sequence[Shot]) -> list[dict[str, Any]]:
    """Ids, names and sizes of the images."""
    return [
        {
            "id": shot.image_id,
            "file_name": world.file_name(shot.image_id),
            "width": shot.size[0],
            "height": shot.size[1],
        }
        for shot in shots
    ]


def captions(world: World, shots: Sequence[Shot], *, seed: int, shifted: bool) -> dict[str, Any]:
    """Captions of scenes as COCO has them, `CAPTIONS_PER_IMAGE` of each."""
    rows: list[dict[str, Any]] = []
    for shot in shots:
        rng = world.generator(shot.image_id - 1, seed, shifted, "caption")
        for _ in range(CAPTIONS_PER_IMAGE):
            text = world.caption(shot.scene, rng)
            rows.append({"id": len(rows) + 1, "image_id": shot.image_id, "caption": text})
    return {"images": images(world, shots), "annotations": rows}
