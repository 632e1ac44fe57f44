"""Rank statistics written out from their definitions: what the package is compared with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def pairs_won(high: Sequence[float], low: Sequence[float]) -> float:
    return sum((a > b) + (a == b) / 2 for a, b in itertools.product(high, low))


def auroc(high: Sequence[float], low: Sequence[float]) -> float:
    return pairs_won(high, low) / (len(high) * len(low)) if high and low else math.nan


def mann_whitney_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided, from the normal approximation, corrected for ties and continuity."""
    n, m = len(first), len(second)
    values = [*first, *second]
    tied = sum(values.count(value) ** 3 - values.count(value) for value in set(values))
    variance = n * m / 12 * (n + m + 1 - tied / ((n + m) * (n + m - 1)))
    z = max(0, abs(pairs_won(first, second) - n * m / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))
