"""Detectors that are fitted on labels: on all images, and in turn on those that are not judged."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lvlmsal.analysis.detector_mentions import DetectedMention
from lvlmsal.analysis.folds import FOLDS, out_of_fold
from lvlmsal.detection.base import Detector
from lvlmsal.detection.regression import Regression
from lvlmsal.statistics.logistic import fit_logistic


def out_of_fold_logits(
    features: Tensor,
    wrong: Tensor,
    images: Sequence[Hashable],
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> Tensor:
    """The logit of each mention under a regression on the mentions of other images.

    Args:
        features: Shape (N, F); a mention with a nan is one that cannot be judged.
        wrong: Labels, shape (N,).
        images: What each mention belongs to; all of one image are in one fold.
        folds: In how many parts the images are cut.
        seed: Of the folds.

    Returns:
        Shape (N,), float64; nan for mentions that cannot be judged, on which nothing is fitted.

    Raises:
        UnsupportedError: Fewer than `folds` images have mentions of a kind.
    """
    known = ~features.isnan().any(-1)
    if not known.all():
        some = torch.full((len(wrong),), torch.nan, dtype=torch.float64)
        own = [image for image, is_known in zip(images, known.tolist(), strict=True) if is_known]
        some[known] = out_of_fold_logits(features[known], wrong[known], own, folds=folds, seed=seed)
        return some

    def scored(fit: Tensor, rest: Tensor) -> Tensor:
        return fit_logistic(features[fit], wrong[fit]).logits(features[rest])

    return out_of_fold(scored, wrong, images, folds=folds, seed=seed)


def with_fitted(mentions: Sequence[DetectedMention], *, seed: int = 0) -> list[DetectedMention]:
    """The mentions with scores of detectors that were fitted on other images of theirs.

    Args:
        mentions: Of one model, method and benchmark.
        seed: Of the folds.

    Raises:
        UnsupportedError: There are too few images with mentions of a kind.
    """
    names = mentions[0].features if mentions else ()
    wrong = torch.tensor([mention.wrong for mention in mentions])
    images = [mention.image for mention in mentions]
    columns = {
        f"{name} (fitted)": out_of_fold_logits(
            torch.tensor([mention.features[name] for mention in mentions]), wrong, images, seed=seed
        ).tolist()
        for name in names
    }
    return [
        replace(
            mention,
            scores={**mention.scores, **{name: column[at] for name, column in columns.items()}},
        )
        for at, mention in enumerate(mentions)
    ]


def fit_on_labels(
    detector: Detector, mentions: Sequence[DetectedMention], *, seed: int = 0
) -> Regression:
    """Fit a detector on all mentions of a model; its chances and thresholds come from other images.

    Args:
        detector: Whose features the mentions hold.
        mentions: Of one model, repeated ones included; those that the detector cannot judge (a
            feature is nan) are left out.
        seed: Of the folds.

    Raises:
        UnsupportedError: There are too few images with mentions of a kind.
    """
    mentions = [m for m in mentions if not any(map(math.isnan, m.features[detector.name]))]
    features = torch.tensor([mention.features[detector.name] for mention in mentions])
    wrong = torch.tensor([mention.wrong for mention in mentions])
    images = [mention.image for mention in mentions]
    others = out_of_fold_logits(features, wrong, images, seed=seed)
    made = fit_logistic(features, wrong)
    answers = len({(mention.method, mention.sample) for mention in mentions})
    return Regression.fitted(detector, made, others, wrong, answers)
