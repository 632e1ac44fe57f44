"""LLaVA-Bench: from a judge's reviews to ratios of mean scores."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final, Literal

import torch
from torch import Tensor

CATEGORIES: Final = ("conv", "detail", "complex")
"""The kinds of questions: conversation, description, reasoning."""

FAILED: Final = (-1.0, -1.0)
"""What the official scripts put in place of scores that they cannot read."""

UNIT: Final = 1e6
"""Scores are counted in millionths: sums of whole numbers do not depend on their order."""

LARGEST: Final = 1e6
"""A number beyond this is not a score, and would be lost in sums."""

HIGHEST: Final = 10.0
"""The scale of the scores ends here."""

_BY_CATEGORY: Final = (
    "pairs",
    "reference",
    "answer",
    "judged",
    "all_reference",
    "all_answer",
    "odd",
)
LLAVA_BENCH_COUNTS: Final = (
    *(f"{category}_{count}" for category in CATEGORIES for count in _BY_CATEGORY),
    "failed",
    "unjudged",
    "n",
)

Reading = Literal["official", "lmms-eval"]
"""How two scores are read from a review; `llava_bench_scores` says how."""


def llava_bench_scores(review: str, reading: Reading = "official") -> tuple[float, float]:
    r"""Read the scores of reference and answer from a review.

    ``official`` takes the first line, replaces commas by blanks, splits at single spaces and needs
    exactly two numbers: "7, 6", " 8 7" and "8/10 7/10" fail, "7 nan" passes. ``lmms-eval`` takes
    the first two numbers of the first line that is not blank: "8/10 7/10" gives 8 and 10.

    Args:
        review: What the judge said.
        reading: The rule.

    Returns:
        The two scores, or -1 and -1.

    Example:
        >>> [llava_bench_scores(text) for text in ("8 7\nBoth ...", "7, 6", "I cannot say")]
        [(8.0, 7.0), (-1.0, -1.0), (-1.0, -1.0)]
        >>> [llava_bench_scores(text, "lmms-eval") for text in ("7, 6", "Scores: 8/10 and 7/10")]
        [(7.0, 6.0), (8.0, 10.0)]
    """
    if reading == "lmms-eval":
        found = re.findall(r"-?\d+(?:\.\d+)?", review.strip().split("\n")[0])
        return (float(found[0]), float(found[1])) if len(found) > 1 else FAILED
    parts = review.split("\n")[0].replace(",", " ").split(" ")
    if len(parts) != 2:
        return FAILED
    try:
        return float(parts[0]), float(parts[1])
    except ValueError:
        return FAILED


def llava_bench_counts(
    reviews: Sequence[str | None], categories: Sequence[str], reading: Reading = "official"
) -> Tensor:
    """What each question adds to the counts.

    Args:
        reviews: What the judge said of each question; None where it was not asked yet.
        categories: conv, detail or complex.
        reading: See `llava_bench_scores`.

    Returns:
        float64 tensor of shape (questions, counts), see `LLAVA_BENCH_COUNTS`. Of each category:
        the usable pairs and the sums of their scores; all pairs, failed ones as -1, with the sums
        that the official script takes; and pairs with nan, an infinity or a number beyond a
        million. Scores are in millionths.

    Raises:
        ValueError: A category is none of the three.
    """
    rows = torch.zeros(len(reviews), len(LLAVA_BENCH_COUNTS), dtype=torch.float64)
    for row, review, category in zip(rows, reviews, categories, strict=True):
        if category not in CATEGORIES:
            raise ValueError(f"the category must be one of {CATEGORIES}, got {category!r}")
        if review is None:
            row[-2:] = 1.0
            continue
        pair = llava_bench_scores(review, reading)
        finite = all(abs(score) <= LARGEST for score in pair)
        usable = finite and all(0 <= score <= HIGHEST for score in pair)
        start = CATEGORIES.index(category) * len(_BY_CATEGORY)
        scores = [float(round(score * UNIT)) for score in (pair if finite else FAILED)]
        counted = [*([1.0, *scores] if usable else [0.0] * 3), 1.0, *scores, float(not finite)]
        row[start : start + len(_BY_CATEGORY)] = torch.tensor(counted, dtype=torch.float64)
        row[-3] = float(not usable)
        row[-1] = 1.0
    return rows


def llava_bench_figures(counts: Tensor) -> dict[str, Tensor]:
    """The figures for summed counts.

    Args:
        counts: Tensor of shape (..., counts), see `llava_bench_counts`.

    Returns:
        ``ratio`` and ``ratio_CATEGORY``: mean score of the answers by mean score of the reference,
        over usable pairs (fractions; a ratio of means, so not the mean of ratios);
        ``reference`` and ``answer``: the two means, from 0 to 10;
        ``official`` and ``official_CATEGORY``: as the official script prints them, in percent with
        its roundings (means to 3 decimals, their ratio to 1), with -1 in both means for every pair
        that failed, and nan where a score is nan, infinite or beyond a million;
        ``official_reference``, ``official_answer`` and the same with ``_CATEGORY``: the script's
        other two columns, ten times those means to 1 decimal;
        ``failed``: pairs outside of ``ratio``; ``unjudged``: questions without a review; ``n``.
    """
    inner, (failed, unjudged, n) = counts[..., :-3], counts[..., -3:].unbind(-1)
    each = inner.reshape(*inner.shape[:-1], len(CATEGORIES), len(_BY_CATEGORY))
    each = torch.cat([each.sum(-2, keepdim=True), each], -2)
    pairs, reference, answer, judged, all_reference, all_answer, odd = each.unbind(-1)
    ratios = answer / reference
    ratios = torch.where(reference > 0, ratios, math.nan)
    first, second = (
        torch.where(odd > 0, math.nan, _rounded(total / (judged * UNIT), 3))
        for total in (all_reference, all_answer)
    )
    official = {
        "official": _rounded(torch.where(first == 0, math.nan, second / first * 100), 1),
        "official_reference": _rounded(first * 10, 1),
        "official_answer": _rounded(second * 10, 1),
    }
    names = ("", *(f"_{category}" for category in CATEGORIES))
    return {
        **{f"ratio{name}": ratios[..., place] for place, name in enumerate(names)},
        "reference": (reference / (pairs * UNIT))[..., 0],
        "answer": (answer / (pairs * UNIT))[..., 0],
        **{
            f"{column}{name}": values[..., place]
            for column, values in official.items()
            for place, name in enumerate(names)
        },
        "failed": failed,
        "unjudged": unjudged,
        "n": n,
    }


def _rounded(values: Tensor, decimals: int) -> Tensor:
    """Python's rounding, which looks at the exact value; torch's multiplies first."""
    found = [round(value, decimals) for value in values.flatten().tolist()]
    return values.new_tensor(found).reshape(values.shape)
