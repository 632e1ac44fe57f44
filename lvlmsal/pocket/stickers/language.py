"""What is said about sticker scenes: captions that refer back, and questions with their answers."""

from __future__ import annotations

import random
from typing import Final

from lvlmsal.pocket.scenes.language import (
    ONE_WORD,
    YES_OR_NO,
    Turn,
    capital,
    yes_no,
)
from lvlmsal.pocket.scenes.language import (
    PLACES as CELLS,
)
from lvlmsal.pocket.stickers.classes import COLORS, NOUNS, PAIRED
from lvlmsal.pocket.stickers.places import PLACES
from lvlmsal.pocket.stickers.scene import MAX_OBJECTS, Scene, Sticker

NUMBERS: Final = ("zero", "one", "two", "three", "four", "five", "six")

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

_SEEN: Final = ("is", "can be seen", "is visible", "stands out")
_REMARKS: Final = (
    "The scene looks calm.",
    "Nothing else stands out.",
    "It looks like an ordinary day.",
    "The light is soft.",
    "It is a quiet moment.",
    "The whole scene is easy to take in.",
)


def with_article(words: str) -> str:
    """`words` behind the indefinite article.

    Example:
        >>> with_article("dog"), with_article("elephant"), with_article("pair of skis")
        ('a dog', 'an elephant', 'a pair of skis')
    """
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def plural(name: str) -> str:
    """Plural of a class's name.

    Example:
        >>> plural("knife"), plural("wine glass")
        ('knives', 'wine glasses')
    """
    return NOUNS[name].plural


def word(name: str, count: int, rng: random.Random | None = None) -> str:
    """How so many objects of a class are called.

    Args:
        name: The class.
        count: How many.
        rng: Chooses between COCO's name and the synonym; without it, it is COCO's name.

    Returns:
        The noun, without article or number.
    """
    forms = NOUNS[name].forms
    pair = forms[0] if rng is None or rng.random() < 0.72 else rng.choice(forms)
    if name in PAIRED:
        return f"{'pair' if count == 1 else 'pairs'} of {pair[1]}"
    return pair[count > 1]


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


def side(of: Sticker, seen_from: Sticker) -> str:
    """On which side of another a sticker is; empty where it is not clear.

    Returns:
        "to the left of", "to the right of", "above", "below", or "".
    """
    across, down = of.x - seen_from.x, of.y - seen_from.y
    if abs(across) >= 36 and abs(across) >= 1.3 * abs(down):
        return "to the left of" if across < 0 else "to the right of"
    if abs(down) >= 36 and abs(down) >= 1.3 * abs(across):
        return "above" if down < 0 else "below"
    return ""


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


def subject(things: tuple[Sticker, ...]) -> str:
    """The start of a question about objects of one class: "is the dog", "are the dogs"."""
    name = things[0].name
    if name in PAIRED or len(things) > 1:
        return f"are the {plural(name)}"
    return f"is the {name}"


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
            return Turn(f"What color {subject(things)}?", f"{capital(right)}.", kind)
        asked = right if truth else rng.choice([name for name in COLORS if name != right])
        return _yes_no(f"{capital(subject(things))} {asked}?", truth, kind, rng)
    if kind == "where":
        cells = " and ".join(dict.fromkeys(CELLS[thing.cell] for thing in things))
        return Turn(f"Where {subject(things)}?", f"{capital(cells)}.", kind)
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
        return _yes_no(f"Are there {number} objects in the image?", truth and count > 1, kind, rng)
    if kind == "place":
        return Turn("What place is this?", f"{capital(with_article(scene.place))}.", kind)
    if kind == "setting":
        other = rng.choice([name for name in PLACES if name != scene.place])
        return _yes_no(setting_question(scene.place if truth else other), truth, kind, rng)
    singles = [name for name in scene.present if len(scene.of(name)) == 1]
    if kind == "side" and len(singles) > 1:
        one, two = (scene.of(name) for name in rng.sample(singles, 2))
        relation = side(one[0], two[0])
        if relation:
            asked = relation if truth else OPPOSITE[relation]
            text = f"{capital(subject(one))} {asked} the {two[0].name}?"
            return _yes_no(text, truth, kind, rng)
    name = rng.choice(scene.present if truth else scene.absent)
    text = exists_question(name)
    if rng.random() < 0.15:
        text = text.replace("the image", "this image")
    return _yes_no(text, truth, "exists", rng)


OPPOSITE: Final = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
}
"""Each side -> the other one."""


def _yes_no(question: str, truth: bool, kind: str, rng: random.Random) -> Turn:
    """A yes-or-no question, at times with what benchmarks append."""
    suffix = rng.choices(("", ONE_WORD, YES_OR_NO), (0.7, 0.2, 0.1))[0]
    return Turn(question + suffix, yes_no(truth), kind)
