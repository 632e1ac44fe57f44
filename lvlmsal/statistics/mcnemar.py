"""McNemar's exact test of two methods on the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class McNemar:
    """A comparison of two methods on the same questions.

    Attributes:
        only_a: Questions that only the first got right.
        only_b: Questions that only the second got right.
        p_value: Probability of a split at least as uneven if both were equally good.
    """

    only_a: int
    only_b: int
    p_value: float


def mcnemar(correct_a: Sequence[bool], correct_b: Sequence[bool]) -> McNemar:
    """McNemar's exact test: do two methods differ on the same questions?

    Only the questions that one of them got right count; if both are equally good, each of these is
    a fair coin. The test takes questions as independent, which those on one image are not quite.

    Args:
        correct_a: Whether the first method got each question right.
        correct_b: The same for the second.

    Returns:
        The counts and the two-sided p-value; 1 if the methods never differ.

    Raises:
        ValueError: The two differ in length.

    Example:
        >>> mcnemar([True] * 6 + [False], [False] * 6 + [True])
        McNemar(only_a=6, only_b=1, p_value=0.125)
    """
    if len(correct_a) != len(correct_b):
        raise ValueError(f"{len(correct_a)} outcomes against {len(correct_b)}")
    only_a = sum(bool(a) and not b for a, b in zip(correct_a, correct_b, strict=True))
    only_b = sum(bool(b) and not a for a, b in zip(correct_a, correct_b, strict=True))
    n = only_a + only_b
    # whole numbers throughout: 2**n overflows a float from n = 1024 on
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    return McNemar(only_a, only_b, min(1.0, float(Fraction(2 * tail, 2**n))))
