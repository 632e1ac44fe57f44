"""What is said about scenes: captions that refer back, and questions with their answers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

from lvlmsal.pocket.scenes.scene import COLORS, GRID, KITS, MAX_OBJECTS, SHAPES, Scene, Thing

NUMBERS: Final = ("zero", "one", "two", "three", "four", "five")
PLACES: Final = (
    "in the top left",
    "at the top",
    "in the top right",
    "on the left",
    "in the center",
    "on the right",
    "in the bottom left",
    "at the bottom",
    "in the bottom right",
)
"""How each of the nine cells is called."""

OPPOSITE: Final = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
}
"""Each side -> the other one."""

CAPTION_PROMPTS: Final = (
    "Please describe this image in detail.",
    "Describe the image.",
    "Describe this image.",
)
ONE_WORD: Final = "\nAnswer the question using a single word or phrase."
YES_OR_NO: Final = " Please answer yes or no."

QuestionKind = Literal["exists", "where", "count", "color", "attribute", "total"]


@dataclass(frozen=True)
class Turn:
    """A question and its answer.

    Attributes:
        question: What the user says.
        answer: What the assistant says.
        kind: The kind of question, or ``"caption"``.
    """

    question: str
    answer: str
    kind: str


def plural(shape: str) -> str:
    """Plural of a shape's name.

    Example:
        >>> plural("star"), plural("cross"), plural("fish")
        ('stars', 'crosses', 'fishes')
    """
    return shape + ("es" if shape.endswith(("s", "sh")) else "s")


def with_article(words: str) -> str:
    """`words` behind the indefinite article.

    Example:
        >>> with_article("star"), with_article("orange star"), with_article("hourglass")
        ('a star', 'an orange star', 'an hourglass')
    """
    # "hourglass" is the one name of the world whose first letter misleads
    vowel = words[0] in "aeiou" or words.startswith("hour")
    return f"{'an' if vowel else 'a'} {words}"


def capital(text: str) -> str:
    """`text` with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def side(of: Thing, seen_from: Thing) -> str:
    """Where `of` lies, seen from `seen_from`: a key of `OPPOSITE`; columns go before rows."""
    row, column = divmod(of.cell, GRID)
    other_row, other_column = divmod(seen_from.cell, GRID)
    if column != other_column:
        return "to the left of" if column < other_column else "to the right of"
    return "above" if row < other_row else "below"


def _sentence(rng: random.Random, things: tuple[Thing, ...], before: Thing | None) -> str:
    """One sentence on the objects of one shape; `before` is what "it" can mean."""
    thing = things[0]
    place = PLACES[thing.cell]
    if len(things) > 1:
        pair = f"{thing.color} {plural(thing.shape)}"
        return f"Two {pair} are {place} and {PLACES[things[1].cell]}."
    name = with_article(f"{thing.color} {thing.shape}")
    if before is None:
        return rng.choice(
            (f"There is {name} {place}.", f"{capital(place)} there is {name}."),
        )
    relation = side(thing, before)
    return rng.choice(
        (
            f"{capital(relation)} it there is {name}.",
            f"{capital(relation)} the {before.shape} there is {name}.",
            f"{capital(name)} is {relation} it.",
        )
    )


def caption(scene: Scene, rng: random.Random) -> str:
    """Describe a scene in sentences that refer back to each other.

    Shapes are named in the order of `KITS`, the commonest first. Every object is named, however
    faint it is: who is trained on this must guess at times.

    Args:
        scene: The scene.
        rng: Decides between wordings.

    Returns:
        An opening, one sentence for each shape, the background, and the number of objects.

    Example:
        >>> from lvlmsal.pocket.scenes.scene import sample_scene
        >>> text = caption(sample_scene(random.Random(1)), random.Random(1))
        >>> text.endswith(("objects.", "all."))
        True
    """
    order = [shape for kit in KITS for shape in kit if shape in scene.present]
    groups = [scene.of(shape) for shape in order]
    first = groups[0][0]
    if len(groups[0]) == 1:
        opening = with_article(f"{first.color} {first.shape}") + f" {PLACES[first.cell]}"
    else:
        opening = f"two {first.color} {plural(first.shape)} {PLACES[first.cell]}"
        opening += f" and {PLACES[groups[0][1].cell]}"
    verb = rng.choice(("The image shows", "This is a picture of"))
    sentences = [f"{verb} {opening}."]
    before = first if len(groups[0]) == 1 else None
    for things in groups[1:]:
        sentences.append(_sentence(rng, things, before))
        before = things[0] if len(things) == 1 else None
    if rng.random() < 0.7:
        sentences.append(f"The background is {scene.shade}.")
    number = NUMBERS[len(scene.things)]
    sentences.append(
        rng.choice(
            (
                f"In total there are {number} objects.",
                f"Together they make {number} objects.",
                f"There are {number} objects in all.",
            )
        )
    )
    return " ".join(sentences)


def exists_question(shape: str) -> str:
    """POPE's question about a shape.

    Example:
        >>> exists_question("arrow")
        'Is there an arrow in the image?'
    """
    return f"Is there {with_article(shape)} in the image?"


def yes_no_turn(question: str, truth: bool, kind: str, rng: random.Random) -> Turn:
    """A yes-or-no question with its answer, at times with what benchmarks append to it."""
    suffix = rng.choices(("", ONE_WORD, YES_OR_NO), (0.7, 0.2, 0.1))[0]
    return Turn(question + suffix, "Yes." if truth else "No.", kind)


def subject(shape: str, count: int) -> str:
    """Verb and subject of a question about objects of one shape.

    Example:
        >>> subject("star", 1), subject("star", 2)
        ('is the star', 'are the stars')
    """
    return f"is the {shape}" if count == 1 else f"are the {plural(shape)}"


def ask(scene: Scene, kind: QuestionKind, rng: random.Random) -> Turn:
    """Make up a question about a scene, with its true answer.

    Args:
        scene: The scene.
        kind: ``exists`` (half of them about absent shapes), ``where``, ``count``, ``color``,
            ``attribute`` (is it that color?) or ``total`` (are there so many objects?).
        rng: Decides what is asked about.

    Returns:
        The turn.

    Example:
        >>> from lvlmsal.pocket.scenes.scene import sample_scene
        >>> scene = sample_scene(random.Random(1))
        >>> ask(scene, "exists", random.Random(0)).answer in ("Yes.", "No.")
        True
    """
    truth = rng.random() < 0.5
    things = scene.of(rng.choice(scene.present))
    shape = things[0].shape
    asked_about = subject(shape, len(things))
    if kind == "where":
        places = " and ".join(PLACES[thing.cell] for thing in things)
        return Turn(f"Where {asked_about}?", f"{capital(places)}.", kind)
    if kind == "color":
        return Turn(f"What color {asked_about}?", f"{capital(things[0].color)}.", kind)
    if kind == "count":
        if truth:
            number = NUMBERS[len(scene.things)]
            return Turn("How many objects are there?", f"{capital(number)}.", kind)
        asked = shape if rng.random() < 0.8 else rng.choice(scene.absent)
        number = NUMBERS[len(scene.of(asked))]
        return Turn(f"How many {plural(asked)} are there?", f"{capital(number)}.", kind)
    if kind == "exists":
        asked = shape if truth else rng.choice(scene.absent)
        question = exists_question(asked)
        if rng.random() < 0.15:
            question = question.replace("the image", "this image")
    elif kind == "attribute":
        others = [color for color in COLORS if color != things[0].color]
        color = things[0].color if truth else rng.choice(others)
        question = f"{capital(asked_about)} {color}?"
    else:
        count = len(scene.things)
        others_ = [number for number in range(2, MAX_OBJECTS + 1) if number != count]
        number = NUMBERS[count if truth else rng.choice(others_)]
        question = f"Are there {number} objects in the image?"
    return yes_no_turn(question, truth, kind, rng)


def corpus() -> list[str]:
    """Sentences that hold every word that captions, questions and answers can hold.

    Example:
        >>> any("Umbrella" in text for text in corpus())
        False
    """
    texts = [*CAPTION_PROMPTS, ONE_WORD, YES_OR_NO, "Yes. No. yes no"]
    texts += [*PLACES, *(capital(place) for place in PLACES), *NUMBERS, *map(capital, NUMBERS)]
    texts += [word for shape in SHAPES for word in (shape, plural(shape))]
    texts += [word for color in COLORS for word in (color, capital(color))]
    texts += [
        "The image shows a an. This is a picture of it and the.",
        "To the left of it there is. To the right. Above it. Below it. A An above below to",
        "The background is black dark gray. In total there are objects.",
        "Together they make objects. There are objects in all. There is",
        "How many objects are there? What color is the? Where are the? Is the? Are there Two?",
        "Is there a star in the image? Is there a star in this image?",
        "You look at pictures and answer questions. USER: ASSISTANT: system user assistant \n",
    ]
    return texts
