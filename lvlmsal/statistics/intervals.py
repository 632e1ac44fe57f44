"""How sure a figure is: intervals, paired differences and a test.

Everything is deterministic: the same rows and the same seed give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from lvlmsal.metrics.base import CountMetric

Figures = Callable[[Tensor], Mapping[str, Tensor]]
"""From counts of shape (..., k) to figures of shape (...), as `CountMetric.figures`."""

_CHUNK = 4_000_000
"""Most resampling weights held at a time: 32 MB."""


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

    Unlike the textbook interval it neither leaves [0, 1] nor collapses at 0 and 1.

    Args:
        successes: Number of successes.
        trials: Number of trials.
        level: Coverage.

    Returns:
        The proportion with its bounds; of no trials all are nan.

    Raises:
        ValueError: `successes` is not between 0 and `trials`, or `level` not between 0 and 1.

    Example:
        >>> interval = wilson(9, 10)
        >>> f"{interval.value:.2f} [{interval.low:.3f}, {interval.high:.3f}]"
        '0.90 [0.596, 0.982]'
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    z = NormalDist().inv_cdf(0.5 + _checked(level) / 2)
    if trials == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    # at 0 and 1 a bound equals the proportion, but for rounding
    low = min(share, max(0.0, (centre - half) / scale))
    high = max(share, min(1.0, (centre + half) / scale))
    return Interval(share, low, high, int(trials))


def bootstrap_interval(
    rows: Tensor,
    groups: Sequence[Hashable],
    figures: Figures,
    *,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile intervals from resampling groups of samples.

    Samples that share an image stand or fall together, so whole groups are drawn with replacement,
    not samples.

    Args:
        rows: Counts of each sample, shape (samples, k), as `CountMetric.rows` gives them.
        groups: What each sample belongs to, an image for instance.
        figures: The figures of summed counts.
        seed: Seed of the resampling.
        draws: Number of resamples.
        level: Coverage.

    Returns:
        An interval for each figure. Resamples in which a figure is undefined are left out of it;
        with fewer than two groups there are no bounds.

    Raises:
        ValueError: `rows` and `groups` differ in length, or an option is out of range.

    Example:
        >>> rows = torch.tensor([[1.0, 1.0], [1.0, 0.0]] * 50)
        >>> found = bootstrap_interval(
        ...     rows, list(range(100)), lambda c: {"share": c[..., 1] / c[..., 0]}
        ... )["share"]
        >>> f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}] of {found.n}"
        '0.50 [0.40, 0.60] of 100'
    """
    sums = _group_sums(rows, groups)
    measured = figures(sums.sum(0))
    resampled = _resampled(sums, figures, seed, draws)
    return percentile_intervals(measured, resampled, len(sums), level)


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
    sums = _group_sums(torch.cat([rows_a, rows_b], dim=-1), groups)

    def differences(counts: Tensor) -> dict[str, Tensor]:
        first, second = figures(counts[..., :width]), figures(counts[..., width:])
        return {name: value - second[name] for name, value in first.items()}

    resampled = _resampled(sums, differences, seed, draws)
    return percentile_intervals(differences(sums.sum(0)), resampled, len(sums), level)


def figure_intervals(
    metric: CountMetric,
    rows: Tensor,
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals for all figures of a metric.

    A proportion of independent trials (`CountMetric.rates`) gets Wilson's interval if every sample
    is a group of its own; everything else is resampled.

    Args:
        metric: The metric.
        rows: Counts of each sample, shape (samples, k).
        groups: What each sample belongs to.
        seed: Seed of the resampling.
        draws: Number of resamples.
        level: Coverage.

    Returns:
        An interval for each figure.

    Raises:
        ValueError: `rows` and `groups` differ in length, or an option is out of range.

    Example:
        >>> from lvlmsal.benchmarks.pope.metric import PopeMetric
        >>> metric = PopeMetric()
        >>> rows = metric.rows(["yes", "no", "no"], ["yes", "no", "yes"])
        >>> found = figure_intervals(metric, rows, ["a", "b", "c"])["accuracy"]
        >>> f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
        '0.67 [0.21, 0.94]'
    """
    options = {"seed": seed, "draws": draws}
    found = bootstrap_interval(rows, groups, metric.figures, level=level, **options)
    if len(set(groups)) == len(groups):
        sums = dict(zip(metric.count_names, rows.sum(0).tolist(), strict=True))
        for name, (above, below) in metric.rates.items():
            found[name] = wilson(sums[above], sums[below], level=level)
    return found


def _group_sums(rows: Tensor, groups: Sequence[Hashable]) -> Tensor:
    """Sum of the rows of each group, in float64, in the order in which groups first occur."""
    if len(rows) != len(groups):
        raise ValueError(f"{len(rows)} rows for {len(groups)} group names")
    index, count = group_numbers(groups)
    sums = torch.zeros(count, rows.shape[-1], dtype=torch.float64)
    return sums.index_add_(0, index, rows.double().cpu())


def group_numbers(groups: Sequence[Hashable]) -> tuple[Tensor, int]:
    """A number for each group, in the order in which they first occur, and how many there are."""
    numbers: dict[Hashable, int] = {}
    index = [numbers.setdefault(group, len(numbers)) for group in groups]
    return torch.tensor(index, dtype=torch.long), len(numbers)


def resampling_weights(groups: int, draws: int, seed: int) -> Iterator[Tensor]:
    """How often each resample holds each group, shape (some draws, groups), chunk by chunk.

    Args:
        groups: Number of groups.
        draws: Number of resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: `draws` is below 1.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    generator = torch.Generator().manual_seed(seed)
    step = max(1, _CHUNK // max(groups, 1))
    for start in range(0, draws, step):
        some = min(step, draws - start)
        picks = torch.randint(groups, (some, groups), generator=generator)
        zeros = torch.zeros(some, groups, dtype=torch.float64)
        yield zeros.scatter_add_(1, picks, torch.ones_like(zeros))


def _resampled(sums: Tensor, figures: Figures, seed: int, draws: int) -> dict[str, Tensor]:
    """Figures of all resamples, shape (draws,) each; none with fewer than two groups."""
    if len(sums) < 2:
        return {}
    counts = torch.cat([weights @ sums for weights in resampling_weights(len(sums), draws, seed)])
    return dict(figures(counts))


def percentile_intervals(
    measured: Mapping[str, Tensor], resampled: Mapping[str, Tensor], n: int, level: float
) -> dict[str, Interval]:
    """Intervals between percentiles of resampled figures.

    Args:
        measured: The figures, as scalars.
        resampled: The figures of all resamples, shape (draws,) each; nan where undefined.
        n: Number of units that were resampled.
        level: Coverage.
    """
    tail = (1 - _checked(level)) / 2
    ends = torch.tensor([tail, 1 - tail], dtype=torch.float64)
    found = {}
    for name, value in measured.items():
        low = high = math.nan
        if name in resampled and not math.isnan(value.item()):
            low, high = torch.nanquantile(resampled[name], ends).tolist()
        found[name] = Interval(value.item(), low, high, n)
    return found


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    return level
