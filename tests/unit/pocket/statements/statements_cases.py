"""Wrong statements for the kit of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lvlmsal.pocket.statements.metric import StatementsMetric

BY_HAND = {
    "A red dog.": (1, 0, 0, 0, 0),
    "A cat and a dog. A dog.": (3, 1, 1, 0, 1),
    "There is a blue blue dog at the top.": (1, 0, 0, 1, 0),
    "The dog sleeps.": (0, 0, 0, 0, 0),
    "Two red dogs. Two red dogs. Two red dogs.": (3, 0, 2, 0, 0),
    "A dog, a cat and a car.": (3, 2, 0, 0, 1),
}
"""Introductions, of these absent, repeated and miscolored ones, and absent ones that the scene
suggests, of a scene with a red dog that suggests a cat and a sheep."""


def reference(answers: Sequence[str], targets: Sequence[Any]) -> dict[str, float]:
    made, absent, repeated, miscolored, suggested = map(
        sum, zip(*(BY_HAND[answer] for answer in answers), strict=True)
    )
    return {
        "wrong_statements": (absent + repeated + miscolored) / made if made else math.nan,
        "expected_absent": suggested / made if made else math.nan,
        "unexpected_absent": (absent - suggested) / made if made else math.nan,
        "suggested_by_chance": 2 / 79,
        "two_colors": sum("blue blue" in answer for answer in answers) / len(answers),
    }


TRUTH = {
    "objects": ["dog"],
    "colors": {"dog": "red"},
    "suggested": ["cat", "sheep"],
    "absent": 79,
}
CASES: dict[str, Any] = {
    "statements": (StatementsMetric, [(answer, TRUTH) for answer in BY_HAND], reference)
}
