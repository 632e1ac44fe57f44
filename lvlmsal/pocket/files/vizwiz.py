"""Questions with ten answers each, as VizWiz has them: some disagree, some say unanswerable."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from lvlmsal.pocket.files.pairs import colored, existence, singles
from lvlmsal.pocket.files.world import Scene, Scenes, World
from lvlmsal.pocket.scenes.language import PLACES


def vizwiz_files(world: World, scenes: Scenes, seed: int) -> Iterator[tuple[str, Any]]:
    """The annotation file of VizWiz, with one question about each image.

    Args:
        world: The world of the scenes.
        scenes: Pairs of image id and scene.
        seed: Seed of the world.

    Yields:
        Path in the world, and what is to be written as JSON.
    """
    rows = []
    for image_id, scene in scenes:
        rng = world.questioner(seed, "vizwiz", image_id)
        kind = rng.choice(("color", "where", "count", "exists", "unanswerable"))
        question, answer, others = _open_question(world, scene, kind, rng)
        given = [answer] * rng.choice((10, 9, 8, 6))
        given += [rng.choice(others) for _ in range(10 - len(given))]
        rng.shuffle(given)
        kinds = {"count": "number", "exists": "yes/no", "unanswerable": kind}
        rows.append(
            {
                "image": world.file_name(image_id),
                "question": question,
                "answers": [
                    {"answer": text, "answer_confidence": "yes" if text == answer else "maybe"}
                    for text in given
                ],
                "answer_type": kinds.get(kind, "other"),
                "answerable": int(kind != "unanswerable"),
            }
        )
    yield "Annotations/val.json", rows


def _open_question(
    world: World, scene: Scene, kind: str, rng: random.Random
) -> tuple[str, str, list[str]]:
    """A question, what most people say, and what the others may say.

    Answers are in the form that scorers bring predictions into: small letters, digits, no articles.
    """
    if kind == "exists":
        pair = existence(world, scene, rng)
        truth = rng.choice((0, 1))
        return pair[truth], ("yes", "no")[truth], ["yes", "no", "unanswerable"]
    if kind == "count":
        number = len(scene.things)
        others = [world.numbers[number], str(number - 1)]
        return "How many objects are there?", str(number), others
    if kind == "unanswerable":
        subject = world.subject(rng.choice(scene.absent), 1)
        return f"What color {subject}?", kind, ["unsuitable", *world.colors]
    alone, names = singles(scene), colored(scene)
    if not names or (kind == "where" and alone):
        asked = [rng.choice(alone)] if alone else scene.of(rng.choice(scene.present))
        place = " and ".join(dict.fromkeys(PLACES[thing.cell] for thing in asked))
        place, subject = place.replace("the ", ""), world.subject(asked[0].name, len(asked))
        return f"Where {subject}?", place, [place.partition(" ")[2], "unanswerable"]
    things = scene.of(rng.choice(names))
    subject, right = world.subject(things[0].name, len(things)), things[0].color
    return f"What color {subject}?", right, [name for name in world.colors if name != right]
