"""Two methods on the same samples: paired differences and McNemar's exact test."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lvlmsal.statistics.bootstrap import Figures, bootstrap_interval
from lvlmsal.statistics.intervals import Interval


def paired_difference(
    rows_a: Tensor,
    rows_b: Tensor,
    groups: Sequence[Hashable],
    figures: Figures,
    *,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Figures of one method minus those of another on the same samples.

    Both are resampled alike, so what makes a group hard or easy for both cancels out, and the
    interval is narrower than two separate ones would suggest.

    Args:
        rows_a: Counts of each sample under the first method, shape (samples, k).
        rows_b: The same samples in the same order under the second.
        groups: What each sample belongs to.
        figures: The figures of summed counts.
        seed: Seed of the resampling.
        draws: Number of resamples.
        level: Coverage.

    Returns:
        For each figure the difference a - b with its bounds, see `bootstrap_interval`.

    Raises:
        ValueError: The shapes differ, or an option is out of range.

    Example:
        >>> better = torch.tensor([[1.0, 1.0]] * 9 + [[1.0, 0.0]])
        >>> worse = torch.tensor([[1.0, 0.0]] * 10)
        >>> found = paired_difference(
        ...     better, worse, list("aabbccddee"), lambda c: {"share": c[..., 1] / c[..., 0]}
        ... )["share"]
        >>> f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}] of {found.n}"
        '0.90 [0.70, 1.00] of 5'
    """
    if rows_a.shape != rows_b.shape:
        raise ValueError(f"rows of shape {tuple(rows_a.shape)} and {tuple(rows_b.shape)}")
    width = rows_a.shape[-1]

    def differences(counts: Tensor) -> dict[str, Tensor]:
        first, second = figures(counts[..., :width]), figures(counts[..., width:])
        return {name: value - second[name] for name, value in first.items()}

    rows = torch.cat([rows_a, rows_b], dim=-1)
    return bootstrap_interval(rows, groups, differences, seed=seed, draws=draws, level=level)


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
    # deferred: no listing should wait for scipy
    from scipy.stats import binomtest

    if len(correct_a) != len(correct_b):
        raise ValueError(f"{len(correct_a)} outcomes against {len(correct_b)}")
    only_a = sum(bool(a) and not b for a, b in zip(correct_a, correct_b, strict=True))
    only_b = sum(bool(b) and not a for a, b in zip(correct_a, correct_b, strict=True))
    n = only_a + only_b
    return McNemar(only_a, only_b, float(binomtest(only_a, n).pvalue) if n else 1.0)
