"""The files of AMBER: queries, annotations, associated words and safe words."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from lvlmsal.pocket.files import pairs
from lvlmsal.pocket.files.pope import absent_classes
from lvlmsal.pocket.files.world import Scene, Scenes, World


def amber_files(world: World, scenes: Scenes, seed: int) -> Iterator[tuple[str, Any]]:
    """The files of AMBER.

    Annotations are addressed by id - 1, so ids count on through all kinds. As in the release the
    questions on existence are all to be denied, and relations have one type for each answer.

    Args:
        world: The world of the scenes.
        scenes: Pairs of image id and scene.
        seed: Seed of the world.

    Yields:
        Path in the world, and the content: text, or what is to be written as JSON.
    """

    def expected(scene: Scene) -> list[str]:
        """Absent classes, the most plausible first; nothing in it is drawn."""
        return absent_classes(world, scene, "adversarial", random.Random(0))

    numbered = list(scenes)
    queries: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("generative", "existence", "attribute", "relation")
    }
    annotations: list[dict[str, Any]] = []

    def add(kind: str, image_id: int, text: str, **truth: Any) -> None:
        annotations.append({"id": len(annotations) + 1, **truth})
        name = world.file_name(image_id)
        queries[kind].append({"id": len(annotations), "image": name, "query": text})

    for image_id, scene in numbered:
        truth = {"truth": list(scene.present), "hallu": expected(scene)[:4]}
        add("generative", image_id, "Describe this image.", type="generative", **truth)
    for kind in ("state", "number"):
        for image_id, scene in numbered:
            make = pairs.color if kind == "state" else pairs.count
            pair = make(world, scene, world.questioner(seed, f"amber/{kind}", image_id))
            for text, label in zip(pair or (), ("yes", "no"), strict=pair is not None):
                of = f"discriminative-attribute-{kind}"
                add("attribute", image_id, text, type=of, truth=label)
    for image_id, scene in numbered:
        for name in expected(scene)[:2]:
            text = world.exists_question(name).replace("the image", "this image")
            add("existence", image_id, text, type="discriminative-hallucination", truth="no")
    for image_id, scene in numbered:
        sides = pairs.relation(world, scene, world.questioner(seed, "amber/relation", image_id))
        if sides is not None:
            add("relation", image_id, sides[0], type="discriminative-relation", truth="yes")
            add("relation", image_id, sides[1], type="relation", truth="no")
    asked = [query for kind in ("attribute", "existence", "relation") for query in queries[kind]]
    lists = {
        "all": [*queries["generative"], *asked],
        "generative": queries["generative"],
        "discriminative": asked,
        **{f"discriminative-{kind}": queries[kind] for kind in queries if kind != "generative"},
    }
    for kind, rows in lists.items():
        yield f"data/query/query_{kind}.json", rows
    yield "data/annotations.json", annotations
    yield "data/relation.json", {name: world.other_words(name) for name in world.categories}
    yield "data/safe_words.txt", "".join(f"{word}\n" for word in world.safe_words)
