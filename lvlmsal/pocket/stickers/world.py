"""The sticker world as its files have it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np
from PIL import Image, features

from lvlmsal.pocket.files.folder import write_world as write_any_world
from lvlmsal.pocket.files.world import Pair, Seen, World
from lvlmsal.pocket.stickers import captions, questions, words
from lvlmsal.pocket.stickers import draw as drawing
from lvlmsal.pocket.stickers.classes import COLORS, NOUNS
from lvlmsal.pocket.stickers.glyphs import FONT_DIGEST, font
from lvlmsal.pocket.stickers.places import PLACES
from lvlmsal.pocket.stickers.scene import Scene, Sticker, sample_scene


class StickerWorld(World):
    """Places with 67 of COCO's classes, under COCO's names and category ids.

    There is no ``vocabulary.txt``: CHAIR takes COCO's list of words, which holds all of these.
    """

    kind = "stickers"
    version = 1
    stream = "stickers"
    prefix = "STICKERS"
    pope = "stickers"
    categories = MappingProxyType({name: noun.category for name, noun in NOUNS.items()})
    colors = tuple(COLORS)
    numbers = words.NUMBERS
    safe_words = ("image", "object", "picture", "place", "scene", "total", "view", *PLACES)

    def sample(self, rng: random.Random, *, shifted: bool = False) -> Scene:
        """See the base class."""
        return sample_scene(rng, shifted=shifted)

    def draw(self, scene: Scene) -> tuple[Image.Image, list[Seen]]:
        """See the base class; boxes and areas are those of what no other object hides.

        An object that is hidden altogether is not annotated. There was none among 85,000; of each
        of these at least 57 pixels could be seen.
        """
        drawn = drawing.draw(scene)
        objects = []
        for index, thing in enumerate(scene.things, start=1):
            rows, columns = np.nonzero(drawn.owner == index)
            if not len(rows):
                continue
            left, top = int(columns.min()), int(rows.min())
            box = (left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
            objects.append(Seen(thing.name, box, len(rows)))
        return Image.fromarray(drawn.image), objects

    def caption(self, scene: Scene, rng: random.Random) -> str:
        """See the base class."""
        return captions.caption(scene, rng)

    def exists_question(self, name: str) -> str:
        """See the base class."""
        return questions.exists_question(name)

    def subject(self, name: str, count: int) -> str:
        """See the base class."""
        return words.subject(name, count)

    def side(self, of: Sticker, seen_from: Sticker) -> str:
        """See the base class."""
        return words.side(of, seen_from)

    def suggested(self, scene: Scene) -> frozenset[str]:
        """The classes that belong to its place."""
        return frozenset(PLACES[scene.place].habits)

    def other_words(self, name: str) -> list[str]:
        """See the base class."""
        forms = [form for pair in NOUNS[name].forms for form in pair]
        return [form for form in dict.fromkeys(forms) if form != name]

    def taken_for(self, thing: Sticker, name: str) -> Sticker:
        """See the base class."""
        return replace(thing, name=name)

    def setting(self, scene: Scene, rng: random.Random) -> Pair:
        """See the base class."""
        other = rng.choice([name for name in PLACES if name != scene.place])
        return questions.setting_question(scene.place), questions.setting_question(other)

    def require(self) -> None:
        """See the base class."""
        font()

    def made_with(self) -> dict[str, str]:
        """The font, and what draws its characters: other versions may round other pixels."""
        versions = {name: features.version(name) for name in ("pil", "freetype2")}
        return {"font": FONT_DIGEST, **{key: str(found) for key, found in versions.items()}}


WORLD: Final = StickerWorld()
write_world = partial(write_any_world, WORLD)
