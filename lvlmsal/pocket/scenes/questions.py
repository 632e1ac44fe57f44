"""Questions about scenes in the files of MME, AMBER and VizWiz.

Texts use only words that the pocket models know. They were trained on questions after existence,
number, color and place, with MME's " Please answer yes or no." behind some of them; yes-no
questions on places and sides are new to them, though no word in them is.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from lvlmsal.pocket.scenes.absent import absent_shapes
from lvlmsal.pocket.scenes.language import NUMBERS, PLACES, YES_OR_NO, exists_question, plural
from lvlmsal.pocket.scenes.scene import COLORS, GRID, MAX_OBJECTS, SHAPES, Scene, Thing

VERSION: Final = 1
"""Rises whenever the same scenes would yield other questions."""

MME: Final = "MME_Benchmark_release_version"
MME_TASKS: Final = ("existence", "count", "position", "color")
SAFE_WORDS: Final = ("background", "image", "object", "picture", "total")

Scenes = Sequence[tuple[int, str, Scene]]
"""Number, file name and content of each image."""

Pair = tuple[str, str]
"""A question whose answer is yes, and one whose answer is no."""


def _generator(seed: int, use: str, image: int) -> random.Random:
    return random.Random(f"{use}/{VERSION}/{seed}/{image}")


def _singles(scene: Scene) -> list[Thing]:
    """The objects that are the only ones of their shape, in reading order."""
    return [thing for thing in scene.things if len(scene.of(thing.shape)) == 1]


def existence(scene: Scene, rng: random.Random) -> Pair:
    """Whether there is a shape."""
    return exists_question(rng.choice(scene.present)), exists_question(rng.choice(scene.absent))


def count(scene: Scene, rng: random.Random) -> Pair:
    """Whether there are so many objects."""
    right = len(scene.things)
    wrong = rng.choice([number for number in range(2, MAX_OBJECTS + 1) if number != right])
    asked = [f"Are there {NUMBERS[number]} objects in the image?" for number in (right, wrong)]
    return asked[0], asked[1]


def position(scene: Scene, rng: random.Random) -> Pair | None:
    """Whether an object is at a place; None where every shape is there twice."""
    singles = _singles(scene)
    if not singles:
        return None
    thing = rng.choice(singles)
    wrong = rng.choice([cell for cell in range(len(PLACES)) if cell != thing.cell])
    asked = [f"Is the {thing.shape} {PLACES[cell]}?" for cell in (thing.cell, wrong)]
    return asked[0], asked[1]


def color(scene: Scene, rng: random.Random) -> Pair:
    """Whether objects have a color."""
    things = scene.of(rng.choice(scene.present))
    subject = f"Is the {things[0].shape}"
    if len(things) > 1:
        subject = f"Are the {plural(things[0].shape)}"
    wrong = rng.choice([name for name in COLORS if name != things[0].color])
    return f"{subject} {things[0].color}?", f"{subject} {wrong}?"


def relation(scene: Scene, rng: random.Random) -> Pair | None:
    """On which side of another an object is; None without two shapes that are there once."""
    singles = _singles(scene)
    if len(singles) < 2:
        return None
    one, other = rng.sample(singles, 2)
    (row, column), (row_2, column_2) = divmod(one.cell, GRID), divmod(other.cell, GRID)
    if column != column_2:
        sides = ["to the left of", "to the right of"]
        is_first = column < column_2
    else:
        sides = ["above", "below"]
        is_first = row < row_2
    asked = [f"Is the {one.shape} {side} the {other.shape}?" for side in sides]
    return (asked[0], asked[1]) if is_first else (asked[1], asked[0])


_ASKED: Final[dict[str, Callable[[Scene, random.Random], Pair | None]]] = {
    "existence": existence,
    "count": count,
    "position": position,
    "color": color,
}


def mme_files(scenes: Scenes, seed: int) -> Iterator[tuple[str, bytes | PurePosixPath]]:
    """Four of MME's tasks: an image and a text file of two lines, side by side.

    Args:
        scenes: The scenes.
        seed: Seed of the world.

    Yields:
        Path in the world, and the content or which of the world's files it is a copy of.
    """
    for task in MME_TASKS:
        for image, name, scene in scenes:
            pair = _ASKED[task](scene, _generator(seed, f"mme/{task}", image))
            if pair is None:
                continue
            folder = PurePosixPath(MME, task)
            yield str(folder / name), PurePosixPath("images", name)
            lines = [f"{text}{YES_OR_NO}\t{label}\n" for text, label in _labeled(pair)]
            yield str((folder / name).with_suffix(".txt")), "".join(lines).encode()


def _labeled(pair: Pair) -> list[tuple[str, str]]:
    return list(zip(pair, ("Yes", "No"), strict=True))


def amber_files(scenes: Scenes, seed: int) -> Iterator[tuple[str, bytes]]:
    """The files of AMBER: queries, annotations, associated words and safe words.

    Annotations are addressed by id - 1, so ids count on through all kinds. As in the release the
    questions on existence are all to be denied, and relations have one type for each answer.

    Args:
        scenes: The scenes.
        seed: Seed of the world.

    Yields:
        Path in the world, and the content.
    """

    def expected(scene: Scene) -> list[str]:
        """Absent shapes, the most plausible first; nothing in it is drawn."""
        return absent_shapes(scene, "adversarial", random.Random(0))

    queries: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("generative", "existence", "attribute", "relation")
    }
    annotations: list[dict[str, Any]] = []

    def add(kind: str, name: str, text: str, **truth: Any) -> None:
        annotations.append({"id": len(annotations) + 1, **truth})
        queries[kind].append({"id": len(annotations), "image": name, "query": text})

    for _, name, scene in scenes:
        hallucinated = expected(scene)[:4]
        add(
            "generative",
            name,
            "Describe this image.",
            type="generative",
            truth=list(scene.present),
            hallu=hallucinated,
        )
    for kind in ("state", "number"):
        for image, name, scene in scenes:
            make = color if kind == "state" else count
            pair = make(scene, _generator(seed, f"amber/{kind}", image))
            for text, label in _labeled(pair):
                of = f"discriminative-attribute-{kind}"
                add("attribute", name, text, type=of, truth=label.lower())
    for _, name, scene in scenes:
        for shape in expected(scene)[:2]:
            text = exists_question(shape).replace("the image", "this image")
            add("existence", name, text, type="discriminative-hallucination", truth="no")
    for image, name, scene in scenes:
        sides = relation(scene, _generator(seed, "amber/relation", image))
        if sides is not None:
            add("relation", name, sides[0], type="discriminative-relation", truth="yes")
            add("relation", name, sides[1], type="relation", truth="no")
    asked = [query for kind in ("attribute", "existence", "relation") for query in queries[kind]]
    everything = [*queries["generative"], *asked]
    lists = {
        "all": everything,
        "generative": queries["generative"],
        "discriminative": asked,
        **{f"discriminative-{kind}": queries[kind] for kind in queries if kind != "generative"},
    }
    for kind, rows in lists.items():
        yield f"data/query/query_{kind}.json", _json(rows)
    yield "data/annotations.json", _json(annotations)
    yield "data/relation.json", _json({shape: [plural(shape)] for shape in SHAPES})
    yield "data/safe_words.txt", "".join(f"{word}\n" for word in SAFE_WORDS).encode()


def vizwiz_files(scenes: Scenes, seed: int) -> Iterator[tuple[str, bytes]]:
    """Questions with ten answers each, as VizWiz has them: some disagree, some say unanswerable.

    Args:
        scenes: The scenes.
        seed: Seed of the world.

    Yields:
        Path in the world, and the content.
    """
    rows = []
    for image, name, scene in scenes:
        rng = _generator(seed, "vizwiz", image)
        kind = rng.choice(("color", "where", "count", "exists", "unanswerable"))
        question, answer, others = _open_question(scene, kind, rng)
        given = [answer] * rng.choice((10, 9, 8, 6))
        given += [rng.choice(others) for _ in range(10 - len(given))]
        rng.shuffle(given)
        kinds = {"count": "number", "exists": "yes/no", "unanswerable": kind}
        rows.append(
            {
                "image": name,
                "question": question,
                "answers": [
                    {"answer": text, "answer_confidence": "yes" if text == answer else "maybe"}
                    for text in given
                ],
                "answer_type": kinds.get(kind, "other"),
                "answerable": int(kind != "unanswerable"),
            }
        )
    yield "Annotations/val.json", _json(rows)


def _open_question(scene: Scene, kind: str, rng: random.Random) -> tuple[str, str, list[str]]:
    """A question, what most people say, and what the others may say.

    Answers are in the form that scorers bring predictions into: small letters, digits, no articles.
    """
    if kind == "exists":
        pair = existence(scene, rng)
        truth = rng.choice((0, 1))
        return pair[truth], ("yes", "no")[truth], ["yes", "no", "unanswerable"]
    if kind == "count":
        number = len(scene.things)
        return "How many objects are there?", str(number), [NUMBERS[number], str(number - 1)]
    if kind == "unanswerable":
        return f"What color is the {rng.choice(scene.absent)}?", kind, ["unsuitable", *COLORS]
    singles = _singles(scene)
    if kind == "where" and singles:
        thing = rng.choice(singles)
        place = PLACES[thing.cell].replace("the ", "")
        return f"Where is the {thing.shape}?", place, [place.partition(" ")[2], "unanswerable"]
    things = scene.of(rng.choice(scene.present))
    shape, right = things[0].shape, things[0].color
    subject = f"is the {shape}" if len(things) == 1 else f"are the {plural(shape)}"
    return f"What color {subject}?", right, [name for name in COLORS if name != right]


def question_files(scenes: Scenes, seed: int) -> Iterable[tuple[str, bytes | PurePosixPath]]:
    """All files of this module, see `mme_files`."""
    yield from mme_files(scenes, seed)
    yield from amber_files(scenes, seed)
    yield from vizwiz_files(scenes, seed)


def is_question_file(name: str) -> bool:
    """Whether a path in a world is one that this module may have written.

    Letters count alike, because some file systems keep ``Annotations`` in ``annotations``.

    Example:
        >>> is_question_file("data/relation.json"), is_question_file("annotations/captions.json")
        (True, False)
    """
    name = name.lower()
    return name.startswith((f"{MME.lower()}/", "data/")) or name == "annotations/val.json"


def _json(content: Any) -> bytes:
    return (json.dumps(content, sort_keys=True) + "\n").encode()
