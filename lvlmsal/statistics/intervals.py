"""A value with its bounds, and Wilson's bounds of a proportion."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A figure and the range that it may well have.

    Attributes:
        value: The figure as measured; nan where it is undefined.
        low: Lower bound; nan where there is too little to tell.
        high: Upper bound; nan where there is too little to tell.
        n: Number of independent units behind it: trials, or groups that were resampled.
    """

    value: float
    low: float
    high: float
    n: int


def wilson(successes: float, trials: float, *, level: float = 0.95) -> Interval:
    """The Wilson score interval of a proportion of independent trials.

    Unlike the normal approximation it neither leaves [0, 1] nor collapses at 0 and 1.

    Args:
        successes: Number of successes, a whole number.
        trials: Number of trials, a whole number.
        level: Coverage.

    Returns:
        The proportion with its bounds; without trials all are nan.

    Raises:
        ValueError: `successes` or `trials` is not a whole number, `successes` is not between 0 and
            `trials`, or `level` is not between 0 and 1.

    Example:
        >>> interval = wilson(9, 10)
        >>> f"{interval.value:.2f} [{interval.low:.3f}, {interval.high:.3f}]"
        '0.90 [0.596, 0.982]'
    """
    # deferred: no listing should wait for scipy
    from scipy.stats import binomtest

    k, n = int(successes), int(trials)
    if (k, n) != (successes, trials) or not 0 <= k <= n:
        raise ValueError(
            f"successes must be a whole number from 0 to the number of trials, got {successes} "
            f"successes in {trials} trials"
        )
    checked_level(level)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    bounds = binomtest(k, n).proportion_ci(level, method="wilson")
    # rounding can put a bound on the wrong side of the proportion
    return Interval(k / n, min(k / n, float(bounds.low)), max(k / n, float(bounds.high)), n)


def checked_level(level: float) -> float:
    """The coverage of an interval.

    Raises:
        ValueError: It is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    return level
