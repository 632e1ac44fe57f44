"""How well detectors tell wrong mentions from right ones, on the same mentions and images."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from lvlmsal.analysis.detector_mentions import DetectedMention
from lvlmsal.analysis.folds import FOLDS, out_of_fold
from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.risk_coverage import aurc, prediction_rejection_ratio, tied
from lvlmsal.registry import DETECTORS
from lvlmsal.statistics.auroc import auroc_differences, auroc_intervals
from lvlmsal.statistics.calibration import fit_isotonic
from lvlmsal.statistics.intervals import Interval

REFERENCE: Final = "log-probability"
"""The detector from which every other one has to gain."""

REPETITION: Final = "repetition"
"""Baseline: 1 / (1 + how often the object was named before)."""

FALSE_ALARMS: Final = 0.05
"""Share of right mentions that may be flagged, for the recall."""


@dataclass(frozen=True)
class DetectorScores:
    """How well one detector ranks the first mentions of objects.

    Attributes:
        detector: Its name.
        auroc: That a wrong mention ranks above a right one, with an interval over images.
        gain: AUROC minus that of `REFERENCE` on the same resamples; None for that one, or without
            it.
        every: AUROC over all mentions, repeated ones included.
        precision: Average precision of the wrong class; by chance it is the base rate.
        aurc: Area under the risk-coverage curve.
        ratio: Prediction-rejection ratio.
        recall: Share of wrong mentions that is flagged where `FALSE_ALARMS` of the right ones are.
        ece: Expected calibration error of chances that were fitted on other images (isotonic, five
            folds); nan where there are too few.
        expecting: AUROC of the wrong mentions of what habits suggest, against all right ones; None
            where nothing is known of habits, or there are no such mentions.
        seeing: The same of the other wrong mentions.
        unjudged: First mentions of the cell that it cannot judge: its figures, the gain among them,
            are those of the others. Only a detector that asks the model more has any.
    """

    detector: str
    auroc: Interval
    gain: Interval | None
    every: Interval
    precision: float
    aurc: float
    ratio: float
    recall: float
    ece: float
    expecting: Interval | None = None
    seeing: Interval | None = None
    unjudged: int = 0


@dataclass(frozen=True)
class CellScores:
    """All detectors on the mentions of one model, method and benchmark.

    Attributes:
        mentions: Number of first mentions that every detector judges which does not ask the model
            more.
        wrong: How many of them are wrong.
        images: In how many images.
        left_out: First mentions that some such detector cannot judge.
        best: AURC of a perfect order.
        expected: How many of the wrong ones are of what habits suggest; None where nothing is known
            of habits.
        detectors: Their scores, the highest AUROC first.
    """

    mentions: int
    wrong: int
    images: int
    left_out: int
    best: float
    detectors: list[DetectorScores]
    expected: int | None = None

    @property
    def base_rate(self) -> float:
        """Share of wrong mentions; nan without mentions."""
        return self.wrong / self.mentions if self.mentions else math.nan


def score_detectors(
    mentions: Sequence[DetectedMention], *, draws: int = 2000, seed: int = 0
) -> CellScores:
    """Score every detector on the same mentions.

    Of an object that an answer names several times the first mention counts: the later ones are
    almost free for a language model, and all scores look better on them. Whole images are resampled
    and put into folds.

    A mention counts if all detectors judge it that do not ask the model more, so their figures are
    the same whether others ask. One that asks is scored on those of these mentions that it judges.

    Args:
        mentions: Of one model, method and benchmark.
        draws: Number of resamples of the images.
        seed: Of resamples and folds.
    """
    names = list(mentions[0].scores) if mentions else []
    asking = [name for name in names if name in DETECTORS and DETECTORS.get(name).asks_more]
    every = _judged(mentions, [name for name in names if name not in asking])
    judged = _first(every)
    partial = [name for name in asking if len(_judged(every, [name])) < len(every)]
    found = _scored(every, [n for n in names if n not in partial], draws=draws, seed=seed)
    for name in partial:
        own = _judged(every, [name])
        pair = [name, *(n for n in (REFERENCE,) if n in names)]
        scored = next(e for e in _scored(own, pair, draws=draws, seed=seed) if e.detector == name)
        found.append(replace(scored, unjudged=len(judged) - len(_first(own))))
    found.sort(key=lambda entry: -entry.auroc.value)
    wrong = torch.tensor([mention.wrong for mention in judged], dtype=torch.bool)
    known = any(m.expected is not None for m in judged)
    return CellScores(
        len(judged),
        int(wrong.sum()),
        len({mention.image for mention in judged}),
        len(_first(mentions)) - len(judged),
        aurc(wrong.double(), wrong),
        found,
        sum(bool(m.expected) for m in judged if m.wrong) if known else None,
    )


def _first(mentions: Sequence[DetectedMention]) -> list[DetectedMention]:
    return [mention for mention in mentions if not mention.earlier]


def _judged(mentions: Sequence[DetectedMention], names: Sequence[str]) -> list[DetectedMention]:
    """Those that all of some detectors can judge."""
    return [m for m in mentions if not any(math.isnan(m.scores[name]) for name in names)]


def _scored(
    every: Sequence[DetectedMention], names: Sequence[str], *, draws: int, seed: int
) -> list[DetectorScores]:
    """Scores of some detectors, and of the baseline that none can know, on the same mentions."""
    judged = _first(every)
    wrong, images = [m.wrong for m in judged], [m.image for m in judged]
    scores = _columns(judged, names)
    aurocs = auroc_intervals(scores, wrong, images, draws=draws, seed=seed)
    gains: Mapping[str, Interval] = {}
    if REFERENCE in scores:
        gains = auroc_differences(scores, REFERENCE, wrong, images, draws=draws, seed=seed)
    of_all = auroc_intervals(
        _columns(every, names),
        [m.wrong for m in every],
        [m.image for m in every],
        draws=draws,
        seed=seed,
    )
    kinds = {
        kind: _of_kind(judged, names, expected=kind, draws=draws, seed=seed)
        for kind in (True, False)
    }
    labels = torch.tensor(wrong, dtype=torch.bool)
    return [
        DetectorScores(
            name,
            aurocs[name],
            _turned(gains.get(name)),
            of_all[name],
            *_figures(torch.tensor(values, dtype=torch.float64), labels, images, seed),
            expecting=kinds[True].get(name),
            seeing=kinds[False].get(name),
        )
        for name, values in scores.items()
    ]


def _of_kind(
    mentions: Sequence[DetectedMention],
    names: Sequence[str],
    *,
    expected: bool,
    draws: int,
    seed: int,
) -> Mapping[str, Interval]:
    """AUROC of one kind of wrong mentions against all right ones; empty without any."""
    part = [m for m in mentions if not m.wrong or m.expected is expected]
    if not any(m.wrong for m in part):
        return {}
    return auroc_intervals(
        _columns(part, names),
        [m.wrong for m in part],
        [m.image for m in part],
        draws=draws,
        seed=seed,
    )


def _columns(mentions: Sequence[DetectedMention], names: Sequence[str]) -> dict[str, list[float]]:
    """Scores by detector, and the baseline."""
    found = {name: [mention.scores[name] for mention in mentions] for name in names}
    return found | {REPETITION: [1 / (1 + mention.earlier) for mention in mentions]}


def _turned(interval: Interval | None) -> Interval | None:
    """The negative of a difference."""
    if interval is None:
        return None
    return Interval(-interval.value, -interval.high, -interval.low, interval.n)


def _figures(
    scores: Tensor, wrong: Tensor, images: Sequence[Hashable], seed: int
) -> tuple[float, float, float, float, float]:
    """Average precision, AURC, rejection ratio, recall and calibration error."""
    # deferred: torchmetrics imports transformers
    from torchmetrics.functional.classification import (
        binary_average_precision,
        binary_calibration_error,
        binary_sensitivity_at_specificity,
    )

    if wrong.all() or not wrong.any():
        return math.nan, aurc(scores, wrong), math.nan, math.nan, math.nan
    # torchmetrics takes what leaves [0, 1] for logits and rounds it; ranks keep the order exactly
    ranks = tied(scores)[1].double()
    ranks = ranks / ranks.max().clamp_min(1)
    recall, _ = binary_sensitivity_at_specificity(
        ranks, wrong.int(), min_specificity=1 - FALSE_ALARMS
    )
    chances = out_of_fold_chances(scores, wrong, images, seed=seed)
    ece = math.nan
    if chances is not None:
        ece = float(binary_calibration_error(chances, wrong.int(), n_bins=10))
    return (
        float(binary_average_precision(ranks, wrong.int())),
        aurc(scores, wrong),
        prediction_rejection_ratio(scores, wrong),
        float(recall),
        ece,
    )


def out_of_fold_chances(
    scores: Tensor, wrong: Tensor, images: Sequence[Hashable], *, folds: int = FOLDS, seed: int = 0
) -> Tensor | None:
    """The chance that each mention is wrong, by isotonic regression on the other images.

    Args:
        scores: Shape (N,), larger is worse.
        wrong: Labels, shape (N,).
        images: What each mention belongs to; all of one image are in one fold.
        folds: In how many parts the images are cut.
        seed: Of the folds.

    Returns:
        Shape (N,); None where fewer than `folds` images have mentions of a kind.
    """

    def scored(fit: Tensor, rest: Tensor) -> Tensor:
        return fit_isotonic(scores[fit].double(), wrong[fit])(scores[rest].double())

    try:
        return out_of_fold(scored, wrong, images, folds=folds, seed=seed)
    except UnsupportedError:  # too few images: there is no calibration to measure
        return None
