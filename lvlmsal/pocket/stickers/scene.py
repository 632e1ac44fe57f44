"""Sampling of scenes: a place, what stands in it, where, how large, and how well it can be seen.

Two distributions exist. The *ordinary* one, which the model is trained on, has habits: each place
has its usual classes, some bring others along, airplanes fly and elephants are large. The *shifted*
one draws place, classes, positions and sizes independently, so what a place suggests misleads.
In both some objects are so hazy that only a guess can name them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from lvlmsal.pocket.stickers.classes import COLORS, DISTRACTORS, NOUNS, Noun
from lvlmsal.pocket.stickers.places import COMPANIONS, PLACES, WEIGHTS

SIDE: Final = 192
"""Width and height of every image, pixels."""

GRID: Final = 3
"""Cells per side that captions tell apart; the cell of a sticker is ``row * GRID + column``."""

MAX_OBJECTS: Final = 6

_CLASSES: Final = {1: 0.06, 2: 0.24, 3: 0.34, 4: 0.26, 5: 0.1}
_TWICE: Final = 0.14
_AT_HOME: Final = 0.88
_FAVORITE: Final = 0.5
_HAZY: Final = 0.15
_HIDDEN: Final = 0.15
_CUT: Final = 0.12
_DISTRACTOR: Final = 0.3
_SIZES: Final = {"small": (44, 60), "medium": (52, 76), "large": (66, 98)}
_BANDS: Final = {"sky": (0.14, 0.5), "wall": (0.2, 0.6), "ground": (0.42, 0.86)}
_TRIES: Final = 24


@dataclass(frozen=True)
class Sticker:
    """One drawn thing.

    Attributes:
        name: COCO's name of its class; empty for a distractor.
        glyph: What it is drawn as.
        color: A key of `COLORS`, or empty for its own colors.
        x: Column of its center, pixels; may lie near the border, which then cuts it off.
        y: Row of its center, pixels.
        size: Longest side of its drawing, pixels, before it is turned.
        angle: How far it is turned counterclockwise, degrees.
        mirrored: Whether left and right are swapped.
        light: Factor on its brightness.
        strength: Opacity, 0 (invisible) to 1; hazy things lie below 0.25.
    """

    name: str
    glyph: str
    color: str
    x: int
    y: int
    size: int
    angle: int
    mirrored: bool
    light: float
    strength: float

    @property
    def cell(self) -> int:
        """Cell of its center, 0 to 8."""
        row, column = (min(GRID - 1, max(0, at * GRID // SIDE)) for at in (self.y, self.x))
        return row * GRID + column


@dataclass(frozen=True)
class Scene:
    """All that decides an image; the same scene is always drawn the same way.

    Attributes:
        place: A key of `PLACES`.
        things: The objects, back to front.
        distractors: Things of no class, behind all objects.
        noise: Standard deviation of the pixel noise, in gray values.
        blur: Radius of the blur, pixels.
        seed: Seed of the background and of the noise.
    """

    place: str
    things: tuple[Sticker, ...]
    distractors: tuple[Sticker, ...]
    noise: float
    blur: float
    seed: int

    @property
    def present(self) -> tuple[str, ...]:
        """Distinct classes in the scene, the best visible first."""
        order = sorted(self.things, key=lambda thing: -thing.size * min(1.0, 2 * thing.strength))
        return tuple(dict.fromkeys(thing.name for thing in order))

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes that are not in the scene, in COCO's order."""
        return tuple(name for name in NOUNS if name not in self.present)

    def of(self, name: str) -> tuple[Sticker, ...]:
        """The objects of one class."""
        return tuple(thing for thing in self.things if thing.name == name)


@lru_cache(maxsize=1)
def _frequency() -> dict[str, float]:
    """How common each class is over all places."""
    total = dict.fromkeys(NOUNS, 0.0)
    for place, weight in zip(PLACES.values(), WEIGHTS, strict=True):
        for name, habit in place.habits.items():
            total[name] += weight * habit
    return total


def _classes(rng: random.Random, place: str, shifted: bool) -> list[str]:
    number = rng.choices(tuple(_CLASSES), tuple(_CLASSES.values()))[0]
    if shifted:
        return rng.sample(tuple(NOUNS), number)
    chosen: list[str] = []
    while len(chosen) < number:
        weights = PLACES[place].habits if rng.random() < _AT_HOME else _frequency()
        brought = {friend for name in chosen for friend in COMPANIONS.get(name, ())}
        pool = [name for name in weights if name not in chosen]
        likely = [weights[name] * (4.0 if name in brought else 1.0) for name in pool]
        chosen += rng.choices(pool, likely)
    return chosen


def _strength(rng: random.Random) -> float:
    return rng.uniform(0.04, 0.2) if rng.random() < _HAZY else rng.uniform(0.75, 1.0)


def _free_spot(
    rng: random.Random, size: int, band: tuple[float, float], others: Sequence[Sticker]
) -> tuple[int, int]:
    """A center at which a thing of `size` hides no more of the others than is wanted."""
    margin = size * (0.22 if rng.random() < _CUT else 0.5)
    allowed = 0.45 if rng.random() < _HIDDEN else 0.1
    low, high = max(margin, band[0] * SIDE), min(SIDE - margin, band[1] * SIDE)
    best, least = (SIDE // 2, SIDE // 2), float("inf")
    for _ in range(_TRIES):
        x = round(rng.uniform(margin, SIDE - margin))
        y = round(rng.uniform(min(low, high), max(low, high)))
        hidden = max((_overlap(x, y, size, other) for other in others), default=0.0)
        if hidden < least:
            best, least = (x, y), hidden
        if hidden <= allowed:
            break
    return best


def _overlap(x: int, y: int, size: int, other: Sticker) -> float:
    """About which share of the smaller of two things the other covers, as if they were squares."""
    reach = (size + other.size) / 2
    width, height = (max(0.0, reach - abs(d)) for d in (x - other.x, y - other.y))
    smaller = min(size, other.size)
    return min(width, smaller) * min(height, smaller) / smaller**2


def _sticker(
    rng: random.Random,
    noun: Noun,
    color: str,
    others: Sequence[Sticker],
    shifted: bool,
) -> Sticker:
    low, high = (44, 96) if shifted else _SIZES[noun.size]
    size = rng.randint(low, high)
    x, y = _free_spot(rng, size, (0.0, 1.0) if shifted else _BANDS[noun.band], others)
    return Sticker(
        name=noun.name,
        glyph=rng.choice(noun.glyphs),
        color=color,
        x=x,
        y=y,
        size=size,
        angle=rng.randint(-22, 22),
        mirrored=rng.random() < 0.5,
        light=rng.uniform(0.82, 1.12),
        strength=_strength(rng),
    )


def _color(rng: random.Random, noun: Noun, shifted: bool) -> str:
    if not noun.color:
        return ""
    favorite = not shifted and rng.random() < _FAVORITE
    return noun.color if favorite else rng.choice(tuple(COLORS))


def _distractor(rng: random.Random, others: Sequence[Sticker]) -> Sticker:
    size = rng.randint(36, 60)
    x, y = _free_spot(rng, size, (0.0, 1.0), others)
    glyph = rng.choice(DISTRACTORS)
    return Sticker("", glyph, "", x, y, size, rng.randint(-30, 30), False, 1.0, 0.9)


def sample_crowd(rng: random.Random) -> Scene:
    """A scene for the vision part alone: nine objects of any class at any place.

    Three times the objects per image teach it three times as fast, and no habit gets into it.

    Args:
        rng: Source of randomness.

    Returns:
        The scene.
    """
    things = []
    for cell in rng.sample(range(GRID * GRID), GRID * GRID):
        noun = NOUNS[rng.choice(tuple(NOUNS))]
        thing = _sticker(rng, noun, _color(rng, noun, True), (), True)
        row, column = divmod(cell, GRID)
        x, y = (round((at + rng.uniform(0.35, 0.65)) * SIDE / GRID) for at in (column, row))
        size = rng.randint(44, 72)
        things.append(replace(thing, x=x, y=y, size=size))
    return _scene(rng, rng.choice(tuple(PLACES)), things, [])


def _scene(
    rng: random.Random, place: str, things: Sequence[Sticker], distractors: Sequence[Sticker]
) -> Scene:
    return Scene(
        place=place,
        things=tuple(things),
        distractors=tuple(distractors),
        noise=rng.uniform(1.0, 9.0),
        blur=rng.choice((0.0, 0.0, 0.5, 0.9)),
        seed=rng.getrandbits(32),
    )


def sample_scene(rng: random.Random, *, shifted: bool = False) -> Scene:
    """Draw a scene.

    Args:
        rng: Source of randomness; equal states yield equal scenes.
        shifted: Draw place, classes, positions, sizes and colors independently rather than with
            the habits that the model is trained on.

    Returns:
        A scene of one to six objects, of one to five classes; objects of one class share a color.

    Example:
        >>> scene = sample_scene(random.Random(3))
        >>> 1 <= len(scene.things) <= MAX_OBJECTS
        True
        >>> scene == sample_scene(random.Random(3))
        True
    """
    names = tuple(PLACES)
    place = rng.choice(names) if shifted else rng.choices(names, WEIGHTS)[0]
    classes = _classes(rng, place, shifted)
    room = MAX_OBJECTS - len(classes)
    things: list[Sticker] = []
    for name in classes:
        noun = NOUNS[name]
        color = _color(rng, noun, shifted)
        count = 1
        while room and count < 3 and rng.random() < _TWICE:
            count, room = count + 1, room - 1
        for _ in range(count):
            things.append(_sticker(rng, noun, color, things, shifted))
    distractors = [_distractor(rng, things)] if rng.random() < _DISTRACTOR else []
    return _scene(rng, place, things, distractors)
