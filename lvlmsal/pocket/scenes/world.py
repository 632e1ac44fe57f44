"""The scene world of shapes as its files have it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

from PIL import Image

from lvlmsal.pocket.files.folder import write_world as write_any_world
from lvlmsal.pocket.files.world import Seen, World
from lvlmsal.pocket.scenes import draw as drawing
from lvlmsal.pocket.scenes import language
from lvlmsal.pocket.scenes.scene import (
    COLORS,
    KITS,
    SHAPES,
    Scene,
    Thing,
    sample_scene,
)


class ShapeWorld(World):
    """Shapes on gray noise. Its questions use only words that the pocket models know.

    They were trained on questions after existence, number, color and place, with MME's " Please
    answer yes or no." behind some of them; yes-no questions on places and sides are new to them,
    though no word in them is.
    """

    kind = "shapes"
    version = 1
    stream = "world"
    prefix = "SCENE"
    pope = "scene"
    categories = MappingProxyType({shape: at for at, shape in enumerate(SHAPES, start=1)})
    colors = tuple(COLORS)
    numbers = language.NUMBERS
    safe_words = ("background", "image", "object", "picture", "total")

    def sample(self, rng: random.Random, *, shifted: bool = False) -> Scene:
        """See the base class."""
        return sample_scene(rng, shifted=shifted)

    def draw(self, scene: Scene) -> tuple[Image.Image, list[Seen]]:
        """See the base class; objects do not hide each other."""
        objects = [
            Seen(thing.shape, drawing.bounding_box(thing), drawing.area(thing))
            for thing in scene.things
        ]
        return Image.fromarray(drawing.draw(scene)), objects

    def caption(self, scene: Scene, rng: random.Random) -> str:
        """See the base class."""
        return language.caption(scene, rng)

    def exists_question(self, name: str) -> str:
        """See the base class."""
        return language.exists_question(name)

    def subject(self, name: str, count: int) -> str:
        """See the base class."""
        return language.subject(name, count)

    def side(self, of: Thing, seen_from: Thing) -> str:
        """See the base class."""
        return language.side(of, seen_from)

    def suggested(self, scene: Scene) -> frozenset[str]:
        """The shapes that keep company with one that is there."""
        there = set(scene.present)
        return frozenset(shape for kit in KITS if there.intersection(kit) for shape in kit)

    def other_words(self, name: str) -> list[str]:
        """See the base class."""
        return [language.plural(name)]

    def taken_for(self, thing: Thing, name: str) -> Thing:
        """See the base class."""
        return replace(thing, shape=name)

    def more_files(self) -> dict[str, str]:
        """The words in the format of CHAIR's ``synonyms.txt``, which COCO's list does not have."""
        return {"vocabulary.txt": vocabulary()}


def vocabulary() -> str:
    """Names of the objects in the format of CHAIR's ``synonyms.txt``.

    Example:
        >>> vocabulary().splitlines()[0]
        'arrow, arrows'
    """
    return "".join(f"{shape}, {language.plural(shape)}\n" for shape in SHAPES)


WORLD: Final = ShapeWorld()
write_world = partial(write_any_world, WORLD)
scene_number = WORLD.scene_number
file_name = WORLD.file_name
