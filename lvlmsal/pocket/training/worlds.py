"""The two worlds as training sees them: scenes, drawings with who is seen where, and language."""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from lvlmsal.pocket.files.world import World as Files
from lvlmsal.pocket.scenes import draw as shape_drawing
from lvlmsal.pocket.scenes import language as shape_language
from lvlmsal.pocket.scenes import scene as shape_scene
from lvlmsal.pocket.scenes import world as shape_files
from lvlmsal.pocket.scenes.language import CAPTION_PROMPTS, Turn
from lvlmsal.pocket.stickers import draw as sticker_drawing
from lvlmsal.pocket.stickers import questions as sticker_questions
from lvlmsal.pocket.stickers import scene as sticker_scene
from lvlmsal.pocket.stickers import world as sticker_files
from lvlmsal.pocket.stickers.classes import NOUNS


@dataclass(frozen=True, eq=False)
class View:
    """A scene as it is seen.

    Attributes:
        image: The drawn image.
        owner: ``(height, width)`` array: 1 + index of the object seen at each pixel, or 0.
        labels: ``(objects + 1, 2)`` array: class and color of each object as indices from 1, 0 for
            none; row 0 is the background.
    """

    image: Image.Image
    owner: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


class World(ABC):
    """What a model is trained on.

    Attributes:
        files: The same world as its files have it, with scenes that no training sees.
        questions: Kind of question -> how often it is asked.
        nouns: Finds the names of objects in a caption.
    """

    files: ClassVar[Files]
    questions: ClassVar[Mapping[str, float]]
    nouns: ClassVar[re.Pattern[str]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the objects."""
        return tuple(self.files.categories)

    @property
    def colors(self) -> tuple[str, ...]:
        """Names of the colors."""
        return self.files.colors

    def plain(self, scene: Any, rng: random.Random) -> Any:
        """The same scene with one or two of its objects."""
        kept = rng.sample(scene.things, min(len(scene.things), rng.randint(1, 2)))
        return replace(scene, things=tuple(kept))

    @abstractmethod
    def crowd(self, rng: random.Random) -> Any:
        """A scene full of objects without habits, for the vision part alone."""

    @abstractmethod
    def view(self, scene: Any) -> View:
        """Draw a scene."""

    @abstractmethod
    def ask(self, scene: Any, kind: Any, rng: random.Random) -> Turn:
        """Ask a question of a kind, and answer it."""

    def turns(self, scene: Any, questions: int, captioned: bool, rng: random.Random) -> list[Turn]:
        """So many questions about a scene, with a caption if `captioned`, shuffled."""
        turns = []
        if captioned:
            prompt = rng.choices(CAPTION_PROMPTS, (0.5, 0.25, 0.25))[0]
            turns.append(Turn(prompt, self.files.caption(scene, rng), "caption"))
        kinds = rng.choices(tuple(self.questions), tuple(self.questions.values()), k=questions)
        turns += [self.ask(scene, kind, rng) for kind in kinds]
        rng.shuffle(turns)
        return turns


def _pattern(forms: set[str]) -> re.Pattern[str]:
    """Whole words, the longest first."""
    longest = sorted(map(re.escape, forms), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(longest)})\b")


class ShapeWorld(World):
    """Shapes on gray noise, `lvlmsal.pocket.scenes`."""

    files = shape_files.WORLD
    questions = MappingProxyType(
        {
            "exists": 0.52,
            "where": 0.18,
            "count": 0.1,
            "color": 0.1,
            "attribute": 0.05,
            "total": 0.05,
        }
    )
    nouns = _pattern({f for s in shape_scene.SHAPES for f in (s, shape_language.plural(s))})

    def crowd(self, rng: random.Random) -> shape_scene.Scene:
        """See the base class."""
        return shape_scene.sample_crowd(rng)

    def view(self, scene: shape_scene.Scene) -> View:
        """See the base class."""
        owner = np.zeros((scene.height, scene.width), dtype=np.uint8)
        for index, thing in enumerate(scene.things, start=1):
            window = owner[thing.top : thing.top + thing.size, thing.left : thing.left + thing.size]
            window[shape_drawing.shape_mask(thing.shape, thing.size) > 0.4] = index
        labels = [
            (1 + self.classes.index(thing.shape), 1 + self.colors.index(thing.color))
            for thing in scene.things
        ]
        image = Image.fromarray(shape_drawing.draw(scene))
        return View(image, owner, np.array([(0, 0), *labels]))

    def ask(
        self, scene: shape_scene.Scene, kind: shape_language.QuestionKind, rng: random.Random
    ) -> Turn:
        """See the base class."""
        return shape_language.ask(scene, kind, rng)


class StickerWorld(World):
    """Places with COCO's classes, `lvlmsal.pocket.stickers`."""

    files = sticker_files.WORLD
    questions = MappingProxyType(sticker_questions.QUESTIONS)
    nouns = _pattern({f for n in NOUNS.values() for pair in n.forms for f in pair})

    def plain(self, scene: sticker_scene.Scene, rng: random.Random) -> sticker_scene.Scene:
        """The same scene with one or two of its objects, which are not hazy, and nothing else."""
        few: sticker_scene.Scene = super().plain(scene, rng)
        clear = tuple(replace(thing, strength=max(thing.strength, 0.75)) for thing in few.things)
        return replace(few, things=clear, distractors=())

    def crowd(self, rng: random.Random) -> sticker_scene.Scene:
        """See the base class."""
        return sticker_scene.sample_crowd(rng)

    def view(self, scene: sticker_scene.Scene) -> View:
        """See the base class."""
        drawing = sticker_drawing.draw(scene)
        labels = [
            (
                1 + self.classes.index(thing.name),
                1 + self.colors.index(thing.color) if thing.color else 0,
            )
            for thing in scene.things
        ]
        return View(Image.fromarray(drawing.image), drawing.owner, np.array([(0, 0), *labels]))

    def ask(self, scene: sticker_scene.Scene, kind: str, rng: random.Random) -> Turn:
        """See the base class."""
        return sticker_questions.ask(scene, kind, rng)


SHAPES: Final = ShapeWorld()
STICKERS: Final = StickerWorld()
