"""Questions about sticker scenes, with their answers."""

from __future__ import annotations

import random
from typing import Final

from lvlmsal.pocket.scenes.language import (
    OPPOSITE,
    Turn,
    capital,
    with_article,
    yes_no_turn,
)
from lvlmsal.pocket.scenes.language import PLACES as CELLS
from lvlmsal.pocket.stickers.classes import COLORS
from lvlmsal.pocket.stickers.places import PLACES
from lvlmsal.pocket.stickers.scene import MAX_OBJECTS, Scene
from lvlmsal.pocket.stickers.words import (
    NUMBERS,
    side,
    subject,
    word,
)

QUESTIONS: Final[dict[str, float]] = {
    "exists": 0.5,
    "where": 0.1,
    "count": 0.08,
    "color": 0.08,
    "attribute": 0.06,
    "total": 0.05,
    "side": 0.06,
    "place": 0.03,
    "setting": 0.04,
}
"""Kind of each question about a scene -> how often it is asked in training."""


def exists_question(name: str) -> str:
    """POPE's question about a class.

    Example:
        >>> exists_question("umbrella"), exists_question("skis")
        ('Is there an umbrella in the image?', 'Is there a pair of skis in the image?')
    """
    return f"Is there {with_article(word(name, 1))} in the image?"


def setting_question(place: str) -> str:
    """Whether the picture shows a place.

    Example:
        >>> setting_question("office")
        'Is this an office?'
    """
    return f"Is this {with_article(place)}?"


def ask(scene: Scene, kind: str, rng: random.Random) -> Turn:
    """Make up a question about a scene, with its true answer.

    Args:
        scene: The scene.
        kind: ``exists`` (half of them about absent classes), ``where``, ``count``, ``color``,
            ``attribute`` (is it that color?), ``total`` (are there so many objects?), ``side`` (is
            it to the left of another?), ``place`` or ``setting`` (is it that place?). A scene
            without what a kind needs is asked whether something is there.
        rng: Decides what is asked about.

    Returns:
        The turn.

    Example:
        >>> from lvlmsal.pocket.stickers.scene import sample_scene
        >>> scene = sample_scene(random.Random(1))
        >>> ask(scene, "exists", random.Random(0)).answer in ("Yes.", "No.")
        True
    """
    truth = rng.random() < 0.5
    colored = [name for name in scene.present if scene.of(name)[0].color]
    things = scene.of(rng.choice(scene.present))
    if kind in ("color", "attribute") and colored:
        things = scene.of(rng.choice(colored))
        right = things[0].color
        if kind == "color":
            return Turn(
                f"What color {subject(things[0].name, len(things))}?", f"{capital(right)}.", kind
            )
        asked = right if truth else rng.choice([name for name in COLORS if name != right])
        return yes_no_turn(
            f"{capital(subject(things[0].name, len(things)))} {asked}?", truth, kind, rng
        )
    if kind == "where":
        cells = " and ".join(dict.fromkeys(CELLS[thing.cell] for thing in things))
        return Turn(f"Where {subject(things[0].name, len(things))}?", f"{capital(cells)}.", kind)
    if kind == "count":
        name = things[0].name if rng.random() < 0.7 else rng.choice(scene.absent)
        noun = word(name, 2)
        if truth and rng.random() < 0.5:
            number = NUMBERS[len(scene.things)]
            return Turn("How many objects are there?", f"{capital(number)}.", kind)
        number = NUMBERS[len(scene.of(name))]
        return Turn(f"How many {noun} are there?", f"{capital(number)}.", kind)
    if kind == "total":
        count = len(scene.things)
        others = [number for number in range(2, MAX_OBJECTS + 1) if number != count]
        number = NUMBERS[max(2, count) if truth else rng.choice(others)]
        return yes_no_turn(
            f"Are there {number} objects in the image?", truth and count > 1, kind, rng
        )
    if kind == "place":
        return Turn("What place is this?", f"{capital(with_article(scene.place))}.", kind)
    if kind == "setting":
        other = rng.choice([name for name in PLACES if name != scene.place])
        return yes_no_turn(setting_question(scene.place if truth else other), truth, kind, rng)
    singles = [name for name in scene.present if len(scene.of(name)) == 1]
    if kind == "side" and len(singles) > 1:
        one, two = (scene.of(name) for name in rng.sample(singles, 2))
        relation = side(one[0], two[0])
        if relation:
            asked = relation if truth else OPPOSITE[relation]
            text = f"{capital(subject(one[0].name, 1))} {asked} the {two[0].name}?"
            return yes_no_turn(text, truth, kind, rng)
    name = rng.choice(scene.present if truth else scene.absent)
    text = exists_question(name)
    if rng.random() < 0.15:
        text = text.replace("the image", "this image")
    return yes_no_turn(text, truth, "exists", rng)
