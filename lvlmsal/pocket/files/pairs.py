"""Pairs of questions about a scene: the answer to the first one is yes, to the second one no."""

from __future__ import annotations

import random
from typing import Final

from lvlmsal.pocket.files.world import Pair, Scene, Thing, World
from lvlmsal.pocket.scenes.language import OPPOSITE, PLACES, capital


def singles(scene: Scene) -> list[Thing]:
    """The objects that are the only ones of their class."""
    return [thing for thing in scene.things if len(scene.of(thing.name)) == 1]


def colored(scene: Scene) -> list[str]:
    """The classes of which a color is said."""
    return [name for name in scene.present if scene.of(name)[0].color]


def existence(world: World, scene: Scene, rng: random.Random) -> Pair:
    """Whether there is an object of a class."""
    return (
        world.exists_question(rng.choice(scene.present)),
        world.exists_question(rng.choice(scene.absent)),
    )


def count(world: World, scene: Scene, rng: random.Random) -> Pair | None:
    """Whether there are so many objects; None where there is only one."""
    right = len(scene.things)
    if right == 1:
        return None
    wrong = rng.choice([number for number in range(2, len(world.numbers)) if number != right])
    asked = [f"Are there {world.numbers[k]} objects in the image?" for k in (right, wrong)]
    return asked[0], asked[1]


def position(world: World, scene: Scene, rng: random.Random) -> Pair | None:
    """Whether an object is at a place; None where every class is there twice."""
    alone = singles(scene)
    if not alone:
        return None
    thing = rng.choice(alone)
    wrong = rng.choice([cell for cell in range(len(PLACES)) if cell != thing.cell])
    subject = capital(world.subject(thing.name, 1))
    return f"{subject} {PLACES[thing.cell]}?", f"{subject} {PLACES[wrong]}?"


def color(world: World, scene: Scene, rng: random.Random) -> Pair | None:
    """Whether objects have a color; None where no color is said of any."""
    names = colored(scene)
    if not names:
        return None
    things = scene.of(rng.choice(names))
    subject = capital(world.subject(things[0].name, len(things)))
    wrong = rng.choice([name for name in world.colors if name != things[0].color])
    return f"{subject} {things[0].color}?", f"{subject} {wrong}?"


def relation(world: World, scene: Scene, rng: random.Random) -> Pair | None:
    """On which side of another an object is; None where that is unclear, or there is no other."""
    alone = singles(scene)
    if len(alone) < 2:
        return None
    one, other = rng.sample(alone, 2)
    side = world.side(one, other)
    if not side:
        return None
    subject = capital(world.subject(one.name, 1))
    return f"{subject} {side} the {other.name}?", f"{subject} {OPPOSITE[side]} the {other.name}?"


def setting(world: World, scene: Scene, rng: random.Random) -> Pair | None:
    """Which place the picture shows, where the world has places."""
    return world.setting(scene, rng)


PAIRS: Final = {
    "existence": existence,
    "count": count,
    "position": position,
    "color": color,
    "scene": setting,
}
"""Name of a task of MME -> what makes up its questions."""
