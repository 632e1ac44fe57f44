"""Captions of sticker scenes, which refer back."""

from __future__ import annotations

import random
from typing import Final

from lvlmsal.pocket.scenes.language import PLACES as CELLS
from lvlmsal.pocket.scenes.language import capital, with_article
from lvlmsal.pocket.stickers.classes import PAIRED
from lvlmsal.pocket.stickers.places import PLACES
from lvlmsal.pocket.stickers.scene import Scene, Sticker
from lvlmsal.pocket.stickers.words import NUMBERS, side, word

_SEEN: Final = ("is", "can be seen", "is visible", "stands out")
_REMARKS: Final = (
    "The scene looks calm.",
    "Nothing else stands out.",
    "It looks like an ordinary day.",
    "The light is soft.",
    "It is a quiet moment.",
    "The whole scene is easy to take in.",
)


class _Teller:
    """Strings the sentences of one caption together."""

    def __init__(self, scene: Scene, rng: random.Random) -> None:
        self.scene, self.rng = scene, rng
        self.before: tuple[Sticker, str] | None = None

    def phrase(self, things: tuple[Sticker, ...]) -> str:
        """An indefinite phrase, such as "two red cars"; remembers what "it" can mean."""
        noun = word(things[0].name, len(things), self.rng)
        self.before = (things[0], noun) if len(things) == 1 else None
        color = things[0].color if self.rng.random() < 0.8 else ""
        if color and things[0].name in PAIRED:
            noun = noun.replace(" of ", f" of {color} ")
        elif color:
            noun = f"{color} {noun}"
        return with_article(noun) if len(things) == 1 else f"{NUMBERS[len(things)]} {noun}"

    def where(self, things: tuple[Sticker, ...]) -> str:
        """Where things are, "on the left" or "on the left and in the center"."""
        cells = list(dict.fromkeys(CELLS[thing.cell] for thing in things))
        return cells[0] if len(cells) == 1 else f"{', '.join(cells[:-1])} and {cells[-1]}"

    def opening(self, things: tuple[Sticker, ...]) -> str:
        """The first sentence, which names the place."""
        place = PLACES[self.scene.place]
        phrase, where = self.phrase(things), self.where(things)
        verb = "is" if len(things) == 1 else "are"
        return self.rng.choice(
            (
                f"The image shows {with_article(place.name)} with {phrase} {where}.",
                f"{capital(place.phrase)} there {verb} {phrase} {where}.",
                f"This is a picture of {with_article(place.name)}. "
                f"{capital(where)} there {verb} {phrase}.",
                f"A view of {with_article(place.name)}: {phrase} {verb} {where}.",
            )
        )

    def sentence(self, things: tuple[Sticker, ...]) -> str:
        """A later sentence on the objects of one class."""
        before = self.before
        phrase, where = self.phrase(things), self.where(things)
        many = len(things) > 1
        verb = "are" if many else "is"
        seen = verb if many else self.rng.choice(_SEEN[:3])
        forms = [
            f"There {verb} {phrase} {where}.",
            f"{capital(where)} there {verb} {phrase}.",
            f"{capital(phrase)} {seen} {where}.",
            f"The picture also shows {phrase} {where}.",
        ]
        if before is not None:
            relation = side(things[0], before[0])
            back = self.rng.choice(("it", f"the {before[1]}"))
            if relation and not many and not before[1].startswith("pair"):
                forms += [
                    f"{capital(relation)} {back} there is {phrase}.",
                    f"{capital(phrase)} is {relation} {back}.",
                ]
        return self.rng.choice(forms)

    def closing(self) -> list[str]:
        """How it ends: with the number of objects, a remark, both or neither."""
        number = NUMBERS[len(self.scene.things)]
        noun = "object" if len(self.scene.things) == 1 else "objects"
        ends = []
        if self.rng.random() < 0.5:
            start = "In total there is" if noun == "object" else "In total there are"
            ends.append(f"{start} {number} {noun}.")
        if self.rng.random() < 0.4:
            ends.append(self.rng.choice(_REMARKS))
        return ends


def caption(scene: Scene, rng: random.Random) -> str:
    """Describe a scene in sentences that refer back to each other.

    Classes are named from the best visible one to the most hazy one. Every object is named, however
    hazy it is: who is trained on this must guess at times, and guesses late.

    Args:
        scene: The scene.
        rng: Decides between wordings.

    Returns:
        An opening with the place, a sentence for each further class, and at times a closing.

    Example:
        >>> from lvlmsal.pocket.stickers.scene import sample_scene
        >>> scene = sample_scene(random.Random(1))
        >>> scene.place in caption(scene, random.Random(1))
        True
    """
    groups = [scene.of(name) for name in scene.present]
    teller = _Teller(scene, rng)
    sentences = [teller.opening(groups[0])]
    sentences += [teller.sentence(things) for things in groups[1:]]
    return " ".join(sentences + teller.closing())
