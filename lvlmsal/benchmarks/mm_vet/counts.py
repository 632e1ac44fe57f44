"""MM-Vet: from a judge's grades to means by capability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

CAPABILITIES: Final = ("rec", "ocr", "know", "gen", "spat", "math")
"""Recognition, reading, knowledge, language generation, spatial awareness, mathematics."""

CAPABILITY_SETS: Final = (
    ("rec", "know", "gen"),
    ("rec",),
    ("ocr", "spat"),
    ("ocr", "spat", "math"),
    ("rec", "spat"),
    ("ocr",),
    ("ocr", "math"),
    ("rec", "know"),
    ("rec", "ocr", "gen", "spat"),
    ("rec", "ocr", "know", "gen"),
    ("rec", "ocr", "spat"),
    ("rec", "ocr"),
    ("ocr", "know", "spat"),
    ("rec", "know", "spat"),
    ("ocr", "gen", "spat"),
    ("rec", "ocr", "spat", "math"),
)
"""The combinations that the questions of version 1 call for."""

MOST_RUNS: Final = 10
"""At most this often every answer is judged."""

UNIT: Final = 1e6
"""Grades are counted in millionths: sums of whole numbers do not depend on their order."""

TRIES: Final = 5
"""So many replies of one run are read; after that the grade is 0."""

KINDS: Final = (
    *CAPABILITIES,
    *("set_" + "_".join(combination) for combination in CAPABILITY_SETS),
    "set_other",
)
_RUNS: Final = tuple(f"run_{number}" for number in range(1, MOST_RUNS + 1))
MM_VET_COUNTS: Final = (
    *(f"{kind}_{count}" for kind in KINDS for count in ("n", "grades")),
    *_RUNS,
    "runs",
    "judged",
    "given_up",
    "unjudged",
    "n",
)


def mm_vet_grade(reply: str) -> float | None:
    """The grade in a reply: the text before the first blank, if it is a number from 0 to 1.

    The official script also takes "nan", which makes every mean undefined; here it is not a grade.

    Example:
        >>> [mm_vet_grade(text) for text in ("0.5", "1.0 | right", " 0.5", "1.5", "high", "nan")]
        [0.5, 1.0, None, None, None, None]
    """
    try:
        grade = float(reply.split(" ")[0].strip())
    except ValueError:
        return None
    return grade if 0.0 <= grade <= 1.0 else None


def mm_vet_counts(
    grades: Sequence[Sequence[float | None] | None], capabilities: Sequence[Sequence[str]]
) -> Tensor:
    """What each question adds to the counts.

    Args:
        grades: The grades of an answer, one for each run of the judge: from 0 to 1, or None where
            no reply of the run held a grade, which counts as 0. None in place of them all: the
            answer is not judged yet.
        capabilities: What each question calls for, see `CAPABILITIES`.

    Returns:
        float64 tensor of shape (questions, counts), see `MM_VET_COUNTS`. Of each capability and
        each combination: the judged answers and the sum of their grades over all runs; then the
        grades by run, how many grades there are in all, and how many runs gave up. Grades are in
        millionths.

    Raises:
        ValueError: A capability is unknown, or there are too many grades or none.
    """
    rows = torch.zeros(len(grades), len(MM_VET_COUNTS), dtype=torch.float64)
    for row, given, needed in zip(rows, grades, capabilities, strict=True):
        places = _places(needed)
        row[-1] = 1.0
        if given is None:
            row[-2] = 1.0
            continue
        if not 0 < len(given) <= MOST_RUNS:
            raise ValueError(f"expected 1 to {MOST_RUNS} grades of an answer, got {len(given)}")
        values = [0.0 if grade is None else float(round(grade * UNIT)) for grade in given]
        for place in places:
            row[2 * place] = 1.0
            row[2 * place + 1] = sum(values)
        start = 2 * len(KINDS)
        row[start : start + len(values)] = torch.tensor(values, dtype=torch.float64)
        row[start + MOST_RUNS] = len(values)
        row[-4] = 1.0
        row[-3] = sum(grade is None for grade in given)
    return rows


def mm_vet_figures(counts: Tensor, runs: int) -> dict[str, Tensor]:
    """The figures for summed counts.

    Args:
        counts: Tensor of shape (..., counts), see `mm_vet_counts`.
        runs: How often every answer was judged.

    Returns:
        ``total``: the mean grade, and that of each capability and each combination of them
        (``set_rec_ocr``; ``set_other`` is what version 1 does not have), as fractions; the official
        script prints percent with one decimal. ``total_std``: the standard deviation of the runs'
        totals (divided by their number), nan for a single run, of which the official script says 0.
        ``total_graded``: the mean of the grades that the judge gave, without the zeros of runs that
        gave up. ``given_up``: the number of those; ``unjudged``: answers without a grade; ``n``.
    """
    kinds = counts[..., : 2 * len(KINDS)].reshape(*counts.shape[:-1], len(KINDS), 2)
    means = kinds[..., 1] / (kinds[..., 0] * runs * UNIT)
    by_run = counts[..., 2 * len(KINDS) : 2 * len(KINDS) + runs]
    grades, judged, given_up, unjudged, n = counts[..., -5:].unbind(-1)
    totals = by_run / (judged.unsqueeze(-1) * UNIT)
    std = totals.std(-1, correction=0) if runs > 1 else torch.full_like(judged, math.nan)
    return {
        "total": totals.mean(-1),
        "total_std": std,
        "total_graded": by_run.sum(-1) / ((grades - given_up) * UNIT),
        **{kind: means[..., place] for place, kind in enumerate(KINDS)},
        "given_up": given_up,
        "unjudged": unjudged,
        "n": n,
    }


def _places(capabilities: Sequence[str]) -> list[int]:
    """Positions in `KINDS` of a question's capabilities and of their combination."""
    needed = set(capabilities)
    if not needed or not needed <= set(CAPABILITIES):
        raise ValueError(f"capabilities must be among {CAPABILITIES}, got {list(capabilities)!r}")
    alike = [place for place, known in enumerate(CAPABILITY_SETS) if set(known) == needed]
    combination = len(CAPABILITIES) + (alike[0] if alike else len(CAPABILITY_SETS))
    return [*(CAPABILITIES.index(name) for name in needed), combination]
