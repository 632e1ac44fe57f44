"""The pairs of words that the CHAIR scripts take for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lvlmsal.metrics.text.words import Word

_ANIMALS: Final = (
    *("bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "animal", "cub"),
)
_PAIRS: Final = (
    *("traffic light", "traffic signal", "street light", "stop light", "stop sign"),
    *("fire hydrant", "parking meter", "train track", "motor bike", "motor cycle", "air plane"),
    *("suit case", "sports ball", "baseball bat", "baseball glove", "tennis racket", "home plate"),
    *("wine glass", "hot dog", "cell phone", "mobile phone", "laptop computer", "teddy bear"),
    *("hair drier", "potted plant", "stove top oven"),
)
ORIGINAL_DOUBLE_WORDS: Final[Mapping[str, str]] = {
    **{pair: pair for pair in _PAIRS},
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in _ANIMALS},
    **{f"passenger {vehicle}": vehicle for vehicle in ("jet", "train")},
    "bow tie": "tie",
    "toilet seat": "toilet",
    "wine glas": "wine glass",
}
"""The pairs of words that the original script takes for one, and the word that replaces each."""


def merge_pairs(words: list[Word]) -> list[Word]:
    """Replace pairs by one word, greedily from the left; a replaced word joins no other pair.

    Args:
        words: Words in the singular, with their places.

    Returns:
        The words; a replaced one reaches from the first of the pair to the second.
    """
    merged = []
    start = 0
    while start < len(words):
        two = words[start : start + 2]
        pair = ORIGINAL_DOUBLE_WORDS.get(" ".join(word.text for word in two))
        merged.append(two[0] if pair is None else Word(pair, two[0].start, two[-1].end))
        start += 1 if pair is None else 2
    return merged
