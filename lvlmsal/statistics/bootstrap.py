"""The cluster bootstrap: percentile intervals from resampling groups of samples.

Everything is deterministic: the same rows and the same seed give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from lvlmsal.metrics.base import CountMetric
from lvlmsal.statistics.intervals import Interval, checked_level, wilson

Figures = Callable[[Tensor], Mapping[str, Tensor]]
"""From counts of shape (..., k) to figures of shape (...), as `CountMetric.figures`."""

_CHUNK = 4_000_000
"""Most resampling weights held at a time: 32 MB."""


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
    tail = (1 - checked_level(level)) / 2
    ends = torch.tensor([tail, 1 - tail], dtype=torch.float64)
    found = {}
    for name, value in measured.items():
        low = high = math.nan
        if name in resampled and not math.isnan(value.item()):
            low, high = torch.nanquantile(resampled[name], ends).tolist()
        found[name] = Interval(value.item(), low, high, n)
    return found
