"""Table 5 and Figure 10: correct against hallucinated mentions, score by score."""

from __future__ import annotations

import bisect
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lvlmsal.analysis.mentions import MentionRow
from lvlmsal.analysis.scores import SCORES
from lvlmsal.statistics.auroc import auroc_differences, auroc_intervals
from lvlmsal.statistics.intervals import Interval, wilson

Binning = Literal["equal-width", "equal-count"]


@dataclass(frozen=True)
class Bin:
    """Mentions whose score lies in one range.

    Attributes:
        low: Least score.
        high: Largest score.
        rate: Share of them that is hallucinated, with Wilson's interval; nan where there are none.
    """

    low: float
    high: float
    rate: Interval


@dataclass(frozen=True)
class Comparison:
    """One score of the correct and of the hallucinated mentions of one cell.

    Attributes:
        score: Its name in `SCORES`.
        correct: Its values for the correct mentions.
        hallucinated: Its values for the hallucinated ones.
        auroc: How often a correct mention ranks above a hallucinated one (after the score's sign),
            with an interval from resampling images.
        p_value: Of Mann and Whitney's test, two-sided; it treats mentions as independent.
        gain: AUROC of S(c) minus this one, on the same resamples; None for S(c) itself.
        bins: Ten ranges from the least to the largest value.
    """

    score: str
    correct: tuple[float, ...]
    hallucinated: tuple[float, ...]
    auroc: Interval
    p_value: float
    gain: Interval | None
    bins: tuple[Bin, ...]

    @property
    def moments(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of both kinds; nan where there is too little."""
        return {
            "correct": _moments(self.correct),
            "hallucinated": _moments(self.hallucinated),
        }


def compare(
    rows: Sequence[MentionRow],
    *,
    binning: Binning = "equal-width",
    draws: int = 2000,
    seed: int = 0,
) -> list[Comparison]:
    """Compare correct with hallucinated mentions by every score.

    Mentions that lack one of the scores (the first token of an answer has no earlier one) are left
    out of all, so that every score is judged on the same mentions.

    Args:
        rows: Mentions of one model, method and benchmark.
        binning: ``"equal-width"``: ten ranges of the same width from the least to the largest
            value; ``"equal-count"``: of the same number of mentions.
        draws: Number of resamples of the images.
        seed: Of the resamples.

    Returns:
        One entry for each of `SCORES`, in that order.
    """
    whole = complete(rows)
    values = {name: [_value(row, name) for row in whole] for name in SCORES}
    signed = {name: [SCORES[name].sign * v for v in column] for name, column in values.items()}
    correct = [not row.hallucinated for row in whole]
    images = [row.image for row in whole]
    aurocs = auroc_intervals(signed, correct, images, draws=draws, seed=seed)
    gains = auroc_differences(signed, "saliency", correct, images, draws=draws, seed=seed)
    found = []
    for name, column in values.items():
        kinds: tuple[list[float], list[float]] = ([], [])
        for value, is_correct in zip(column, correct, strict=True):
            kinds[not is_correct].append(value)
        found.append(
            Comparison(
                score=name,
                correct=tuple(kinds[0]),
                hallucinated=tuple(kinds[1]),
                auroc=aurocs[name],
                p_value=_mann_whitney(*kinds),
                gain=gains.get(name),
                bins=tuple(hallucination_bins(*kinds, binning=binning)),
            )
        )
    return found


def complete(rows: Sequence[MentionRow]) -> list[MentionRow]:
    """The rows that have every one of `SCORES`."""
    return [row for row in rows if all(row.scores[name] is not None for name in SCORES)]


def hallucination_bins(
    correct: Sequence[float],
    hallucinated: Sequence[float],
    *,
    binning: Binning = "equal-width",
    count: int = 10,
) -> list[Bin]:
    """The share of hallucinated mentions in ranges of a score.

    Args:
        correct: Scores of correct mentions.
        hallucinated: Scores of hallucinated mentions.
        binning: See `compare`. Ranges of equal counts hold numbers of mentions that differ by at
            most one; mentions with the same score may stand in two of them.
        count: Number of ranges.

    Returns:
        The ranges from low to high; none where there are no mentions.

    Raises:
        ValueError: There is no such binning.

    Example:
        >>> found = hallucination_bins([1.0, 1.0, 0.0], [0.0, 0.4], count=2)
        >>> [(part.low, part.high, round(part.rate.value, 2), part.rate.n) for part in found]
        [(0.0, 0.5, 0.67, 3), (0.5, 1.0, 0.0, 2)]
    """
    items = sorted([*((v, False) for v in correct), *((v, True) for v in hallucinated)])
    if not items:
        return []
    least, largest = items[0][0], items[-1][0]
    parts: list[list[tuple[float, bool]]] = [[] for _ in range(count)]
    if binning == "equal-width":
        width = (largest - least) / count
        edges = [*(least + width * i for i in range(count)), largest]
        for value, kind in items:
            parts[bisect.bisect_right(edges, value, 1, count) - 1].append((value, kind))
        ranges = list(itertools.pairwise(edges))
    elif binning == "equal-count":
        cuts = [len(items) * i // count for i in range(count + 1)]
        parts = [items[cuts[i] : cuts[i + 1]] for i in range(count)]
        ranges = [(p[0][0], p[-1][0]) if p else (math.nan, math.nan) for p in parts]
    else:
        raise ValueError(f"binning is 'equal-width' or 'equal-count', got {binning!r}")
    return [
        Bin(low, high, wilson(sum(kind for _, kind in part), len(part)))
        for (low, high), part in zip(ranges, parts, strict=True)
    ]


def _value(row: MentionRow, name: str) -> float:
    value = row.scores[name]
    assert value is not None  # `complete` has left out rows without it
    return value


def _mann_whitney(correct: Sequence[float], hallucinated: Sequence[float]) -> float:
    """The two-sided p-value, corrected for ties and continuity; nan where a kind is missing."""
    # deferred: no listing should wait for scipy
    from scipy.stats import mannwhitneyu

    if not correct or not hallucinated:
        return math.nan
    return float(mannwhitneyu(correct, hallucinated, method="asymptotic").pvalue)


def _moments(values: Sequence[float]) -> tuple[float, float]:
    mean = statistics.fmean(values) if values else math.nan
    return mean, statistics.stdev(values) if len(values) > 1 else math.nan
