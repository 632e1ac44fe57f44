"""Fits on labels: nothing that is judged was fitted on its own image."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from lvlmsal.analysis.detector_fits import fit_on_labels, out_of_fold_logits, with_fitted
from lvlmsal.analysis.detector_mentions import DetectedMention
from lvlmsal.detection.ensemble import Ensemble
from lvlmsal.errors import UnsupportedError

CONFIDENCE = Ensemble(parts=["confidence"])


def mentions(images: int = 60, seed: int = 0) -> list[DetectedMention]:
    """Features that tell nothing, but the first one, which tells the label on most images."""
    rng = random.Random(seed)
    found = []
    for image in range(images):
        for wrong in (False, False, True):
            features = [rng.gauss(2 * wrong, 1), *(rng.gauss(0, 1) for _ in range(3))]
            found.append(
                DetectedMention(
                    *("m", "greedy", "chair", str(image), str(image), "dog", 3, 0, wrong),
                    {"log-probability": rng.random()},
                    {"ensemble": features},
                )
            )
    return found


def test_labels_of_an_image_do_not_reach_its_own_scores() -> None:
    made = mentions()
    features = torch.tensor([m.features["ensemble"] for m in made])
    wrong = torch.tensor([m.wrong for m in made])
    images = [m.image for m in made]
    plain = out_of_fold_logits(features, wrong, images)
    turned = wrong.clone()
    turned[:3] = torch.tensor([True, False, False])  # still one wrong mention, another one
    torch.testing.assert_close(out_of_fold_logits(features, turned, images)[:3], plain[:3])
    assert float(plain[wrong].mean()) > float(plain[~wrong].mean()) + 1


def test_scores_are_added_under_the_detectors_name() -> None:
    made = with_fitted(mentions())
    assert set(made[0].scores) == {"log-probability", "ensemble (fitted)"}
    assert with_fitted([]) == []


def test_a_fit_says_what_it_was_made_from() -> None:
    made = fit_on_labels(CONFIDENCE, mentions())
    assert (made.mentions, made.wrong, made.answers) == (180, 60, 60)
    assert made.weights[0] == max(made.weights, key=abs)
    assert made.weights[0] > 0
    assert 0 < made.false_alarms["0.2"] <= made.false_alarms["0.01"] <= 1


def test_what_cannot_be_judged_is_fitted_nowhere() -> None:
    made = mentions()
    blind = [replace(m, image="no", features={"ensemble": [math.nan] * 4}) for m in made[:6]]
    name = "ensemble (fitted)"
    found = [m.scores[name] for m in with_fitted([*blind, *made])]
    assert all(map(math.isnan, found[:6]))
    assert found[6:] == [m.scores[name] for m in with_fitted(made)]
    assert fit_on_labels(CONFIDENCE, [*blind, *made]) == fit_on_labels(CONFIDENCE, made)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="3 images have wrong mentions; 5 are needed"):
        fit_on_labels(CONFIDENCE, mentions(3))
