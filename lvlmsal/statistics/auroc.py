"""AUROC, the area under the receiver operating characteristic, with intervals that resample groups.

It is the share of pairs of a positive and a negative item in which the positive one scores higher;
a tie counts half.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from lvlmsal.statistics.bootstrap import (
    group_numbers,
    percentile_intervals,
    resampling_weights,
)
from lvlmsal.statistics.intervals import Interval

Scores = Mapping[str, Sequence[float]]
"""One number for each item under each name."""

_CHUNK = 4_000_000
"""Most comparisons held at a time: 32 MB."""


def auroc_intervals(
    scores: Scores,
    positive: Sequence[bool],
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """The AUROC of several scores on the same items, with intervals from resampling groups.

    Args:
        scores: For each score its value for each item.
        positive: Whether an item is one that ought to score high.
        groups: What each item belongs to, an image for instance; whole groups are drawn.
        seed: Seed of the resampling.
        draws: Number of resamples.
        level: Coverage.

    Returns:
        For each score the AUROC with bounds. Resamples that lack one of the kinds are left out;
        with fewer than two groups there are no bounds.

    Raises:
        ValueError: Lengths differ, a score is nan, or an option is out of range.

    Example:
        >>> chance = torch.rand(400, generator=torch.Generator().manual_seed(0)).tolist()
        >>> items = [i % 2 == 0 for i in range(400)]
        >>> found = auroc_intervals({"chance": chance}, items, [i // 4 for i in range(400)])
        >>> interval = found["chance"]
        >>> f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}] of {interval.n}"
        '0.45 [0.40, 0.50] of 100'
    """
    measured, resampled, count = _resampled(scores, positive, groups, seed, draws)
    return percentile_intervals(measured, resampled, count, level)


def auroc_differences(
    scores: Scores,
    reference: str,
    positive: Sequence[bool],
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """The AUROC of one score minus that of each other one, on the same items.

    All are resampled alike, so that what makes a group hard for every score cancels out.

    Args:
        scores: As for `auroc_intervals`, and so the rest.
        reference: Name of the score from whose AUROC the others are subtracted.
        positive: Whether an item is one that ought to score high.
        groups: What each item belongs to.
        seed: Seed of the resampling.
        draws: Number of resamples.
        level: Coverage.

    Returns:
        For each other score the difference, reference minus that score.

    Raises:
        ValueError: Lengths differ, a score is nan, or an option is out of range.

    Example:
        >>> scores = {"good": [2.0, 1.0, 2.0, 1.0], "bad": [1.0, 2.0, 1.0, 2.0]}
        >>> found = auroc_differences(scores, "good", [True, False, True, False], "aabb")
        >>> found["bad"]
        Interval(value=1.0, low=1.0, high=1.0, n=2)
    """
    measured, resampled, count = _resampled(scores, positive, groups, seed, draws)

    def differences(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: values[reference] - values[name] for name in values if name != reference}

    return percentile_intervals(
        differences(measured), differences(resampled) if resampled else {}, count, level
    )


def _resampled(
    scores: Scores,
    positive: Sequence[bool],
    groups: Sequence[Hashable],
    seed: int,
    draws: int,
) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """AUROC of each score as measured, of all resamples (draws,), and the number of groups."""
    if {len(values) for values in scores.values()} - {len(positive)} or len(groups) != len(
        positive
    ):
        lengths = {name: len(values) for name, values in scores.items()}
        raise ValueError(f"{len(positive)} items in {len(groups)} groups with scores {lengths}")
    kind = torch.tensor(list(positive), dtype=torch.bool)
    index, count = group_numbers(groups)
    # An AUROC counts pairs. How many the items of group g win against those of group h is all that
    # a resample needs to know: the pair then counts as often as g and h were drawn.
    wins = {name: _wins(_checked(values), kind, index, count) for name, values in scores.items()}
    sizes = torch.stack(
        [torch.bincount(index[kind == which], minlength=count) for which in (True, False)]
    ).double()
    measured = {name: won.sum() / sizes.sum(1).prod() for name, won in wins.items()}
    if count < 2:
        return measured, {}, count
    parts: dict[str, list[Tensor]] = {name: [] for name in wins}
    for weights in resampling_weights(count, draws, seed):
        pairs = (weights @ sizes.T).prod(1)
        for name, won in wins.items():
            parts[name].append(((weights @ won) * weights).sum(1) / pairs)
    return measured, {name: torch.cat(part) for name, part in parts.items()}, count


def _wins(values: Tensor, kind: Tensor, index: Tensor, count: int) -> Tensor:
    """Pairs that positive items of group g win against negative ones of group h, (g, h)."""
    wins = torch.zeros(count, count, dtype=torch.float64)
    high, low = values[kind], values[~kind]
    owners, rivals = index[kind], index[~kind]
    step = max(1, _CHUNK // max(1, len(low)))
    for start in range(0, len(high), step):
        some = high[start : start + step, None]
        won = (some > low).double() + (some == low).double() / 2
        by_rival = torch.zeros(len(some), count, dtype=torch.float64).index_add_(1, rivals, won)
        wins.index_add_(0, owners[start : start + step], by_rival)
    return wins


def _checked(values: Sequence[float]) -> Tensor:
    tensor = torch.tensor(list(values), dtype=torch.float64)
    if tensor.isnan().any():
        raise ValueError("a score is nan; leave items without a score out")
    return tensor
