"""Introductions of objects in descriptions, and which of them are wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor

from lvlmsal.benchmarks.chair.counts import COUNT_NAMES as OF_CHAIR
from lvlmsal.benchmarks.chair.counts import chair_counts, chair_figures
from lvlmsal.metrics.text.vocabulary import Vocabulary

COUNT_NAMES: Final = (
    *OF_CHAIR,
    "introductions",
    "absent",
    "repeated",
    "miscolored",
    "two_colors",
    "suggested",
    "suggestible",
    "absent_classes",
)
"""What is counted of one description: CHAIR's counts, introductions, those that are wrong by the
first reason that holds, whether two colors stand in a row, the absent introductions that the scene
suggests; and of the scene the absent classes that it suggests, and all absent ones."""

_WORD: Final = re.compile(r"\w+|[^\w\s]")
_DETERMINERS: Final = frozenset(
    ("a", "an", "another", "one", "two", "three", "four", "five", "six")
)
_PAIRS: Final = (["pair", "of"], ["pairs", "of"])


@dataclass(frozen=True)
class Introduction:
    """An object that a text introduces, "a red star" or "two cars", not one that it refers to.

    Attributes:
        name: What the vocabulary calls it.
        color: The color next to the noun; empty where none is said.
    """

    name: str
    color: str


def introductions(text: str, vocabulary: Vocabulary, colors: Set[str]) -> list[Introduction]:
    """The introductions of a text, in order: nouns behind an article or a number.

    Args:
        text: The description.
        vocabulary: Knows the nouns.
        colors: Words for colors; one that the vocabulary takes for an object is none.

    Example:
        >>> text = "The image shows a red dog. Below the dog there are two pairs of blue skis."
        >>> introductions(text, Vocabulary.coco(), {"red", "blue"})
        [Introduction(name='dog', color='red'), Introduction(name='skis', color='blue')]
    """
    reading = vocabulary.scan(text)
    found = []
    for (name, _), (start, _) in zip(reading.objects, reading.places, strict=True):
        before = [word.lower() for word in _WORD.findall(text[:start])]
        color = _pop_colors(before, colors)
        if before[-2:] in _PAIRS:
            del before[-2:]
            color = color or _pop_colors(before, colors)
        if before and before[-1] in _DETERMINERS:
            found.append(Introduction(name, color))
    return found


def _pop_colors(words: list[str], colors: Set[str]) -> str:
    """Take colors off the end; the last one, or an empty text."""
    color = ""
    while words and words[-1] in colors:
        color = color or words[-1]
        words.pop()
    return color


def statement_counts(
    texts: Sequence[str],
    truths: Sequence[Mapping[str, Any]],
    vocabulary: Vocabulary,
    colors: Set[str],
) -> Tensor:
    """What each description adds to the counts.

    An introduction is wrong where its object is absent; else where the object was introduced
    before, since a description introduces all objects of a class at once; else where it has a color
    that the object does not have.

    Args:
        texts: One for each scene.
        truths: ``objects``, the names of what is there, ``colors``, by name the color of what has
            one, ``suggested``, the absent classes that the scene suggests, and ``absent``, how many
            classes are absent.
        vocabulary: Finds the objects.
        colors: Words for colors.

    Returns:
        float64 tensor of shape (texts, 17); the columns are those of `COUNT_NAMES`.
    """
    spoken = {color for color in colors if color not in vocabulary.synonyms}
    rows = []
    for text, truth in zip(texts, truths, strict=True):
        seen: set[str] = set()
        wrong = dict.fromkeys(("absent", "repeated", "miscolored"), 0)
        suggested = 0
        found = introductions(text, vocabulary, spoken)
        for one in found:
            known = truth["colors"].get(one.name, "")
            if one.name not in truth["objects"]:
                wrong["absent"] += 1
                suggested += one.name in truth["suggested"]
            elif one.name in seen:
                wrong["repeated"] += 1
            elif one.color and known and one.color != known:
                wrong["miscolored"] += 1
            seen.add(one.name)
        words = [word.lower() for word in _WORD.findall(text)]
        in_a_row = any(a in spoken and b in spoken for a, b in pairwise(words))
        of_scene = len(truth["suggested"]), truth["absent"]
        rows.append((len(found), *wrong.values(), in_a_row, suggested, *of_scene))
    own = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(COUNT_NAMES) - len(OF_CHAIR))
    objects = [truth["objects"] for truth in truths]
    return torch.cat([chair_counts(texts, objects, vocabulary), own], dim=1)


def statement_figures(counts: Tensor) -> dict[str, Tensor]:
    """The figures from summed counts.

    Args:
        counts: Tensor of shape (..., 17) with sums of rows of `statement_counts`.

    Returns:
        Those of `chair_figures`; and the fractions ``wrong_statements`` (W: introductions that are
        wrong for any reason), ``absent_introductions`` and ``repeated_introductions`` of all
        introductions, ``wrong_colors`` of those that are not wrong otherwise, ``two_colors``, the
        share of descriptions in which two colors stand in a row; ``expected_absent`` and
        ``unexpected_absent``, the introductions of what is absent and suggested by the scene, and
        of what is absent and not, of all introductions; ``suggested``, the former of both, and
        ``suggested_by_chance``, what this would be for one who names any absent class.
    """
    own = counts[..., len(OF_CHAIR) :].unbind(-1)
    made, absent, repeated, miscolored, two, expected, suggestible, classes = own
    return {
        **chair_figures(counts[..., : len(OF_CHAIR)]),
        "wrong_statements": (absent + repeated + miscolored) / made,
        "absent_introductions": absent / made,
        "repeated_introductions": repeated / made,
        "wrong_colors": miscolored / (made - absent - repeated),
        "two_colors": two / counts[..., OF_CHAIR.index("captions")],
        "expected_absent": expected / made,
        "unexpected_absent": (absent - expected) / made,
        "suggested": expected / absent,
        "suggested_by_chance": suggestible / classes,
    }
