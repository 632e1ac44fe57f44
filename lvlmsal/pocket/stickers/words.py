"""Words of the sticker world: names with articles and numbers, and sides."""

from __future__ import annotations

import random
from typing import Final

from lvlmsal.pocket.stickers.classes import NOUNS, PAIRED
from lvlmsal.pocket.stickers.scene import Sticker

NUMBERS: Final = ("zero", "one", "two", "three", "four", "five", "six")


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


def subject(name: str, count: int) -> str:
    """Verb and subject of a question about objects of one class.

    Example:
        >>> subject("dog", 1), subject("dog", 2), subject("skis", 1)
        ('is the dog', 'are the dogs', 'are the skis')
    """
    if name in PAIRED or count > 1:
        return f"are the {plural(name)}"
    return f"is the {name}"


def side(of: Sticker, seen_from: Sticker) -> str:
    """On which side of another a sticker is; empty where it is not clear.

    Returns:
        A key of `lvlmsal.pocket.scenes.language.OPPOSITE`, or "".
    """
    across, down = of.x - seen_from.x, of.y - seen_from.y
    if abs(across) >= 36 and abs(across) >= 1.3 * abs(down):
        return "to the left of" if across < 0 else "to the right of"
    if abs(down) >= 36 and abs(down) >= 1.3 * abs(across):
        return "above" if down < 0 else "below"
    return ""
