"""Wrong statements for the kit of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lvlmsal.pocket.statements.metric import StatementsMetric

BY_HAND = {
    "A red dog.": (1, 0, 0, 0),
    "A cat and a dog. A dog.": (3, 1, 1, 0),
    "There is a blue blue dog at the top.": (1, 0, 0, 1),
    "The dog sleeps.": (0, 0, 0, 0),
    "Two red dogs. Two red dogs. Two red dogs.": (3, 0, 2, 0),
}
"""Introductions, and of these absent, repeated and miscolored ones, of a scene with a red dog."""


def reference(answers: Sequence[str], targets: Sequence[Any]) -> dict[str, float]:
    made, absent, repeated, miscolored = map(
        sum, zip(*(BY_HAND[answer] for answer in answers), strict=True)
    )
    return {
        "wrong_statements": (absent + repeated + miscolored) / made if made else math.nan,
        "two_colors": sum("blue blue" in answer for answer in answers) / len(answers),
    }


TRUTH = {"objects": ["dog"], "colors": {"dog": "red"}}
CASES: dict[str, Any] = {
    "statements": (StatementsMetric, [(answer, TRUTH) for answer in BY_HAND], reference)
}
