"""Reads texts of the sticker world by their words alone and says whether they are true."""

from __future__ import annotations

import re

from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.pocket.stickers.classes import COLORS, NOUNS
from lvlmsal.pocket.stickers.places import PLACES
from lvlmsal.pocket.stickers.scene import SIDE, Scene

COCO = Vocabulary.coco()
NUMBERS = {word: k for k, word in enumerate(("zero", "one", "two", "three", "four", "five", "six"))}
ROWS = ("top", "", "bottom")
COLUMNS = ("left", "", "right")
_CELL = re.compile(
    r"\b(?:in the (top|bottom) (left|right)|at the (top|bottom)|on the (left|right)|in the center)"
)
_SIDE = re.compile(r"\b(to the left of|to the right of|above|below)\b", re.IGNORECASE)


def names(text: str) -> list[str]:
    return [name for name, _ in COCO.objects(text)]


def cells(text: str) -> set[tuple[str, str]]:
    """The ninths that a text speaks of, as (row, column)."""
    found = _CELL.finditer(text.lower())
    return {(m[1] or m[3] or "", m[2] or m[4] or "") for m in found}


def cells_of(scene: Scene, name: str) -> set[tuple[str, str]]:
    return {(ROWS[thing.y * 3 // SIDE], COLUMNS[thing.x * 3 // SIDE]) for thing in scene.of(name)}


def is_on_side(scene: Scene, one: str, side: str, other: str) -> bool:
    (a,), (b,) = scene.of(one), scene.of(other)
    across, down = a.x - b.x, a.y - b.y
    return {
        "to the left of": across < -abs(down),
        "to the right of": across > abs(down),
        "above": down < -abs(across),
        "below": down > abs(across),
    }[side]


def answer_to(scene: Scene, question: str) -> str:
    """The right answer in small letters: yes, no, a number, a color, or a place with its article.

    Of "where" it is "", because two orders of places are right; compare `cells` then.
    """
    text = re.split(r"\n| Please", question)[0]
    asked = names(text)
    lower = text.lower()
    if lower == "what place is this?":
        return f"{'an' if scene.place[0] in 'aeiou' else 'a'} {scene.place}"
    if place := re.fullmatch(r"is this an? (.+)\?", lower):
        assert place[1] in PLACES
        return yes(place[1] == scene.place)
    if lower == "how many objects are there?":
        return number(len(scene.things))
    if total := re.fullmatch(r"are there (\w+) objects in the image\?", lower):
        return yes(NUMBERS[total[1]] == len(scene.things))
    (name, *others) = asked
    things = scene.of(name)
    if re.fullmatch(r"is there an? .+ in (the|this) image\?", lower):
        return yes(bool(things))
    if lower.startswith("how many"):
        return number(len(things))
    if lower.startswith("what color"):
        (color,) = {thing.color for thing in things}
        return color
    if lower.startswith("where"):
        return ""
    if others:
        side = _SIDE.search(lower)
        assert side is not None
        return yes(is_on_side(scene, name, side[1], others[0]))
    if where := cells(text):
        return yes(where == cells_of(scene, name))
    color = lower.rstrip("?").split()[-1]
    assert color in COLORS, question
    return yes({thing.color for thing in things} == {color})


def yes(truth: bool) -> str:
    return "yes" if truth else "no"


def number(count: int) -> str:
    return next(word for word, k in NUMBERS.items() if k == count)


_NEW = re.compile(
    rf"\b(an?|{'|'.join(NUMBERS)}) (?:pairs? of )?(?:({'|'.join(COLORS)}) )?(?:pairs? of )?$"
)


def mistakes(scene: Scene, caption: str) -> list[str]:
    """What is false in a caption, all of whose sentences are taken apart."""
    found: list[str] = []
    introduced: list[str] = []
    before = ""
    places = [place for place in PLACES if re.search(rf"\b{place}\b", caption)]
    if places != [scene.place]:
        found.append(f"places {places}")
    for sentence in caption.split(". "):
        if total := re.match(r"In total there (?:is|are) (\w+) objects?\b", sentence):
            if NUMBERS[total[1]] != len(scene.things):
                found.append(sentence)
            continue
        scanned = COCO.scan(sentence)
        new = ""
        back = before
        for (name, _), (start, _) in zip(scanned.objects, scanned.places, strict=True):
            intro = _NEW.search(sentence[:start].lower())
            if intro is None:
                back = name
                if not sentence[:start].lower().endswith("the ") or name != before:
                    found.append(f"back to {name}: {sentence}")
                continue
            things = scene.of(name)
            count = 1 if intro[1] in ("a", "an") else NUMBERS[intro[1]]
            if new or count != len(things):
                found.append(f"{count} {name}: {sentence}")
            if intro[2] and {thing.color for thing in things} != {intro[2]}:
                found.append(f"{intro[2]} {name}: {sentence}")
            new = name
            introduced.append(name)
        if not new:
            continue
        if side := _SIDE.search(sentence):
            if not back or not is_on_side(scene, new, side[1].lower(), back):
                found.append(f"side: {sentence}")
        elif cells(sentence) != cells_of(scene, new):
            found.append(f"where: {sentence}")
        before = new if len(scene.of(new)) == 1 else ""
    if sorted(introduced) != sorted(scene.present) or not set(introduced) <= set(NOUNS):
        found.append(f"introduced {introduced}, present {scene.present}")
    return found
