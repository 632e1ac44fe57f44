"""Sampling of scenes: which objects there are, where, in which color and how visible.

Two distributions exist. The *biased* one, which the pocket models are trained on, has frequent and
rare shapes, four kits of shapes that keep company, and a favorite color for each shape, so that a
captioner learns a language prior. The *shifted* one draws all of these uniformly and independently;
there the prior misleads, which is what makes hallucination measurable.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

KITS: Final[tuple[tuple[str, ...], ...]] = (
    ("star", "moon", "ring", "circle"),
    ("house", "tree", "flag", "fish"),
    ("arrow", "square", "triangle", "cross"),
    ("heart", "diamond", "umbrella", "hourglass"),
)
"""Shapes that keep company in biased scenes, most frequent kit and shape first."""

SHAPES: Final[tuple[str, ...]] = tuple(sorted(shape for kit in KITS for shape in kit))
"""The sixteen shapes of the world, in alphabetical order."""

COLORS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (235, 45, 50),
    "green": (45, 200, 80),
    "blue": (70, 110, 255),
    "yellow": (250, 230, 60),
    "purple": (190, 75, 230),
    "orange": (250, 145, 30),
}
"""Name of each color -> its RGB value; all are brighter than any background."""

SHADES: Final[dict[str, int]] = {"black": 22, "dark": 58, "gray": 96}
"""Name of each background -> its mean gray value."""

SIZES: Final[tuple[tuple[int, int], ...]] = ((64, 64), (64, 48), (48, 64))
"""Image sizes as (width, height) in pixels, multiples of 16."""

GRID: Final = 3
"""Cells per side; the cell of an object is ``row * GRID + column``."""

STEP: Final = 8
"""Objects stand at multiples of this many pixels, as the models' patches do.

At any other place a short training on a CPU would go by before the small towers have learned to
see.
"""

OBJECT_SIZE: Final = 16
"""Side of the square around an object, pixels."""

MAX_OBJECTS: Final = 5

_KIT_WEIGHTS: Final = (0.36, 0.28, 0.21, 0.15)
_IN_KIT_WEIGHTS: Final = (1.0, 0.85, 0.65, 0.5)
_SHAPES_PER_SCENE: Final = {2: 0.15, 3: 0.4, 4: 0.35, 5: 0.1}
_STAY_IN_KIT: Final = 0.85
_FAVORITE_COLOR: Final = 0.5
_TWICE: Final = 0.15
_FAINT: Final = 0.27
_SMUDGE: Final = 0.3
_FREQUENCY: Final = {
    shape: kit_weight * weight
    for kit, kit_weight in zip(KITS, _KIT_WEIGHTS, strict=True)
    for shape, weight in zip(kit, _IN_KIT_WEIGHTS, strict=True)
}
_FAVORITE: Final = {
    "star": "yellow",
    "moon": "yellow",
    "ring": "blue",
    "circle": "orange",
    "house": "red",
    "tree": "green",
    "flag": "purple",
    "fish": "blue",
    "arrow": "orange",
    "square": "green",
    "triangle": "blue",
    "cross": "red",
    "heart": "red",
    "diamond": "purple",
    "umbrella": "green",
    "hourglass": "orange",
}


@dataclass(frozen=True)
class Thing:
    """One drawn object.

    Attributes:
        shape: One of `SHAPES`.
        color: A key of `COLORS`.
        cell: Its cell, ``row * GRID + column``, 0 to 8.
        left: Left edge of its square, pixels.
        top: Upper edge of its square, pixels.
        size: Side of its square, pixels.
        strength: Opacity, 0 (invisible) to 1; faint objects lie below 0.2.
    """

    shape: str
    color: str
    cell: int
    left: int
    top: int
    size: int
    strength: float

    @property
    def name(self) -> str:
        """Its shape, which is its class."""
        return self.shape


@dataclass(frozen=True)
class Smudge:
    """A faint blot in an empty cell that is not an object: what faint objects are mistaken for.

    Attributes:
        color: A key of `COLORS`.
        left: Left edge, pixels.
        top: Upper edge, pixels.
        size: Side of the square around it, pixels.
        strength: Opacity, 0 to 1.
    """

    color: str
    left: int
    top: int
    size: int
    strength: float


@dataclass(frozen=True)
class Scene:
    """All that decides an image; the same scene is always drawn the same way.

    Attributes:
        width: Pixels.
        height: Pixels.
        shade: A key of `SHADES`.
        level: Gray value of the background, 0 to 255.
        things: The objects in reading order (row by row). Objects of one shape share their color.
        smudges: Blots that are not objects.
        noise: Standard deviation of the pixel noise, in gray values.
        noise_seed: Seed of that noise.
    """

    width: int
    height: int
    shade: str
    level: int
    things: tuple[Thing, ...]
    smudges: tuple[Smudge, ...]
    noise: float
    noise_seed: int

    @property
    def present(self) -> tuple[str, ...]:
        """Distinct shapes in the scene, in reading order."""
        return tuple(dict.fromkeys(thing.shape for thing in self.things))

    @property
    def absent(self) -> tuple[str, ...]:
        """Shapes that are not in the scene, in alphabetical order."""
        return tuple(shape for shape in SHAPES if shape not in self.present)

    def of(self, shape: str) -> tuple[Thing, ...]:
        """The objects of one shape (none, one or two)."""
        return tuple(thing for thing in self.things if thing.shape == shape)


def _shapes(rng: random.Random, shifted: bool) -> list[str]:
    number = rng.choices(tuple(_SHAPES_PER_SCENE), tuple(_SHAPES_PER_SCENE.values()))[0]
    if shifted:
        return rng.sample(SHAPES, number)
    kit = rng.choices(KITS, _KIT_WEIGHTS)[0]
    chosen: list[str] = []
    while len(chosen) < number:
        pool = [shape for shape in kit if shape not in chosen]
        if not pool or rng.random() >= _STAY_IN_KIT:
            pool = [shape for shape in SHAPES if shape not in chosen]
        chosen += rng.choices(pool, [_FREQUENCY[shape] for shape in pool])
    return chosen


def _strength(rng: random.Random) -> float:
    faint = rng.random() < _FAINT
    return rng.uniform(0.02, 0.16) if faint else rng.uniform(0.6, 1.0)


def _place(rng: random.Random, cell: int, size: int, width: int, height: int) -> tuple[int, int]:
    """Corner of a square of `size` inside `cell`; squares of different cells never overlap."""
    row, column = divmod(cell, GRID)
    x0, x1 = (round(edge * width / GRID / STEP) * STEP for edge in (column, column + 1))
    y0, y1 = (round(edge * height / GRID / STEP) * STEP for edge in (row, row + 1))
    lefts = range(x0, x1 - size + 1, STEP)
    tops = range(y0, y1 - size + 1, STEP)
    return rng.choice(lefts), rng.choice(tops)


def sample_crowd(rng: random.Random) -> Scene:
    """A scene for the vision part alone: an object in every cell, shapes and colors uniform.

    Three times the objects per image teach it three times as fast, and no prior gets into it.

    Args:
        rng: Source of randomness.

    Returns:
        The scene, of nine objects.
    """
    empty = sample_scene(rng)
    things = []
    for cell in range(GRID * GRID):
        size, color = OBJECT_SIZE, rng.choice(tuple(COLORS))
        left, top = _place(rng, cell, size, empty.width, empty.height)
        strength = _strength(rng)
        things.append(Thing(rng.choice(SHAPES), color, cell, left, top, size, strength))
    return replace(empty, things=tuple(things), smudges=())


def sample_scene(rng: random.Random, *, shifted: bool = False) -> Scene:
    """Draw a scene.

    Args:
        rng: Source of randomness; equal states yield equal scenes.
        shifted: Draw shapes and colors uniformly and independently rather than with the
            co-occurrence that the models are trained on.

    Returns:
        A scene of two to five objects, at most two of one shape.

    Example:
        >>> scene = sample_scene(random.Random(3))
        >>> 2 <= len(scene.things) <= MAX_OBJECTS
        True
        >>> scene == sample_scene(random.Random(3))
        True
    """
    width, height = rng.choice(SIZES)
    shade = rng.choice(tuple(SHADES))
    level = SHADES[shade] + rng.randint(-12, 12)
    shapes = _shapes(rng, shifted)
    room = MAX_OBJECTS - len(shapes)
    cells = rng.sample(range(GRID * GRID), GRID * GRID)
    things = []
    for shape in shapes:
        favorite = not shifted and rng.random() < _FAVORITE_COLOR
        color = _FAVORITE[shape] if favorite else rng.choice(tuple(COLORS))
        count = 1
        if room and rng.random() < _TWICE:
            count, room = 2, room - 1
        for _ in range(count):
            cell, size = cells.pop(), OBJECT_SIZE
            left, top = _place(rng, cell, size, width, height)
            things.append(Thing(shape, color, cell, left, top, size, _strength(rng)))
    smudges = []
    if rng.random() < _SMUDGE:
        size = rng.choice((12, 16))
        left, top = _place(rng, cells.pop(), size, width, height)
        color = rng.choice(tuple(COLORS))
        smudges.append(Smudge(color, left, top, size, rng.uniform(0.08, 0.3)))
    return Scene(
        width=width,
        height=height,
        shade=shade,
        level=level,
        things=tuple(sorted(things, key=lambda thing: thing.cell)),
        smudges=tuple(smudges),
        noise=rng.uniform(4.0, 22.0),
        noise_seed=rng.getrandbits(32),
    )
