"""What the files of a world are written from: its scenes, their pictures, and how it asks."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from PIL import Image


class Thing(Protocol):
    """An object of a scene."""

    @property
    def name(self) -> str:
        """Its class."""

    @property
    def color(self) -> str:
        """Its color; empty where none is said of it."""

    @property
    def cell(self) -> int:
        """The ninth of the picture that its center is in, row by row from 0."""


class Scene(Protocol):
    """What a picture shows."""

    @property
    def things(self) -> Sequence[Thing]:
        """The objects."""

    @property
    def present(self) -> tuple[str, ...]:
        """Distinct classes in the scene."""

    @property
    def absent(self) -> tuple[str, ...]:
        """All other classes."""

    def of(self, name: str, /) -> Sequence[Thing]:
        """The objects of one class, which share a color."""


Scenes = Iterable[tuple[int, Scene]]
"""Pairs of image id (from 1) and scene."""

Pair = tuple[str, str]
"""A question whose answer is yes, and one whose answer is no."""

STATISTICS: Final = 4000
"""Scenes that are counted for what POPE calls popular and adversarial."""


@dataclass(frozen=True)
class Seen:
    """An object as it is seen.

    Attributes:
        name: Its class.
        box: (left, top, width, height), pixels.
        area: Pixels that it covers.
    """

    name: str
    box: tuple[int, int, int, int]
    area: int


class World(ABC):
    """A world of scenes.

    Attributes:
        kind: What configs and notes call it.
        version: Rises whenever the same seed would yield other files.
        stream: First part of the names of its random streams.
        prefix: First part of the names of its images.
        pope: First part of the names of its POPE files.
        categories: Class -> its category id.
        colors: What things can be painted in.
        numbers: Words for 0, 1 ... up to the most objects of a scene.
        safe_words: Words that AMBER lets every description use.
    """

    kind: ClassVar[str]
    version: ClassVar[int]
    stream: ClassVar[str]
    prefix: ClassVar[str]
    pope: ClassVar[str]
    categories: ClassVar[Mapping[str, int]]
    colors: ClassVar[tuple[str, ...]]
    numbers: ClassVar[tuple[str, ...]]
    safe_words: ClassVar[tuple[str, ...]]

    @abstractmethod
    def sample(self, rng: random.Random, *, shifted: bool = False) -> Any:
        """A scene, see `scene_number` for `shifted`."""

    @abstractmethod
    def draw(self, scene: Any) -> tuple[Image.Image, list[Seen]]:
        """The picture of a scene, and its objects in the scene's order."""

    @abstractmethod
    def caption(self, scene: Any, rng: random.Random) -> str:
        """Describe a scene."""

    @abstractmethod
    def exists_question(self, name: str) -> str:
        """Whether there is an object of a class "in the image"."""

    @abstractmethod
    def subject(self, name: str, count: int) -> str:
        """Verb and subject of a question, "is the star" or "are the stars"."""

    @abstractmethod
    def side(self, of: Any, seen_from: Any) -> str:
        """On which side of another a thing is, a key of `OPPOSITE`; empty where that is unclear."""

    @abstractmethod
    def other_words(self, name: str) -> list[str]:
        """What else a class is called, plurals among them."""

    @abstractmethod
    def suggested(self, scene: Any) -> frozenset[str]:
        """Classes that the habits of training would lead one to expect in a scene, absent or not.

        A wrong mention of one of them may be an error of expecting; any other is one of seeing.
        """

    @abstractmethod
    def taken_for(self, thing: Any, name: str) -> Any:
        """A thing under the name of another class, for what is said of it; it cannot be drawn."""

    def misdescribed(self, scene: Any, rng: random.Random) -> Any:
        """A scene in which all things of one class are taken for those of an absent one.

        A caption of it is wrong of the picture of the scene, in these words and nothing else.
        """
        there, absent = rng.choice(scene.present), rng.choice(scene.absent)
        things = [
            self.taken_for(thing, absent) if thing.name == there else thing
            for thing in scene.things
        ]
        return replace(scene, things=tuple(things))

    @cached_property
    def statistics(self) -> tuple[Counter[str], Counter[tuple[str, str]]]:
        """Frequencies and co-occurrences in the distribution that the models are trained on.

        Class -> number of scenes with it, and ordered pair of classes -> number of scenes with
        both, of `STATISTICS` scenes from a fixed seed.
        """
        frequency: Counter[str] = Counter()
        together: Counter[tuple[str, str]] = Counter()
        for index in range(STATISTICS):
            present = self.sample(random.Random(f"statistics/{index}")).present
            frequency.update(present)
            together.update(permutations(present, 2))
        return frequency, together

    def setting(self, scene: Any, rng: random.Random) -> Pair | None:
        """Which place a picture shows; None in a world that has none."""
        return None

    def more_files(self) -> dict[str, str]:
        """Path and content of files that only this world has."""
        return {}

    def require(self) -> None:  # noqa: B027
        """See that everything is there that the world is drawn with.

        Raises:
            UnsupportedError: Something is missing; it says what to type.
        """

    def made_with(self) -> dict[str, str]:
        """What the pictures depend on, besides the seed, and in which version it is here."""
        return {}

    def scene_number(self, index: int, *, seed: int, shifted: bool) -> Any:
        """The scene of image `index`, which does not depend on how many images there are.

        Args:
            index: From 0.
            seed: Seed of the world.
            shifted: Without the co-occurrence that the models are trained on.

        Returns:
            The scene. Training scenes come from other streams, so that it is new to the models.
        """
        return self.sample(self.generator(index, seed, shifted, "scene"), shifted=shifted)

    def generator(self, index: int, seed: int, shifted: bool, use: str) -> random.Random:
        """The random stream of one use of one image, ``scene`` or ``caption``."""
        name = f"{self.stream}/{self.version}/{seed}/{int(shifted)}/{use}/{index}"
        return random.Random(name)

    def questioner(self, seed: int, use: str, image_id: int) -> random.Random:
        """The random stream of what one file asks about one image."""
        return random.Random(f"{use}/{self.version}/{seed}/{image_id}")

    def file_name(self, image_id: int) -> str:
        """Name of an image file: the prefix and the id in twelve digits."""
        return f"{self.prefix}_{image_id:012d}.png"
