"""The fitted fusion: nothing leaks from one image into the score of its own mentions."""

from __future__ import annotations

import random

import pytest
import torch

from lvlmsal.analysis.mlp import cross_validated_scores
from lvlmsal.errors import UnsupportedError
from tests.unit.statistics.by_hand import auroc

pytestmark = pytest.mark.slow


def judged(scores: list[float], correct: list[bool]) -> float:
    return auroc(
        [score for score, kind in zip(scores, correct, strict=True) if kind],
        [score for score, kind in zip(scores, correct, strict=True) if not kind],
    )


def test_labels_of_an_image_do_not_reach_its_own_scores() -> None:
    # The only feature names the image, and all mentions of an image have one label: whoever has
    # seen another mention of the image knows the answer, and nobody else knows anything.
    chooser = random.Random(0)
    kinds = [chooser.random() < 0.5 for _ in range(60)]
    images = [image for image in range(60) for _ in range(5)]
    correct = [kinds[image] for image in images]
    features = torch.eye(60)[images]
    found = judged(cross_validated_scores(features, correct, images), correct)
    assert found < 0.7
    leaking = judged(cross_validated_scores(features, correct, range(300)), correct)
    assert leaking > 0.95


def test_it_learns_what_no_single_feature_and_no_line_tells() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(600, 2, generator=generator)
    correct = (features.prod(1) > 0).tolist()
    images = [i // 2 for i in range(600)]
    assert judged(cross_validated_scores(features, correct, images), correct) > 0.9
    line = cross_validated_scores(features, correct, images, hidden=0)
    assert 0.35 < judged(line, correct) < 0.65


def test_units_of_features_do_not_matter_and_it_repeats_itself() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(200, 3, generator=generator)
    correct = (features[:, 0] > 0.5).tolist()
    images = list(range(200))
    state = torch.random.get_rng_state()
    first = cross_validated_scores(features, correct, images)
    assert first == cross_validated_scores(features, correct, images)
    assert torch.equal(state, torch.random.get_rng_state())
    scaled = cross_validated_scores(features * torch.tensor([1e-3, 10, 1]) + 4, correct, images)
    assert scaled == pytest.approx(first, abs=0.05)
    assert judged(first, correct) > 0.95
    assert first != cross_validated_scores(features, correct, images, seed=1)


def test_too_little_to_fit_on_is_refused() -> None:
    features = torch.zeros(20, 2)
    with pytest.raises(UnsupportedError, match="4 images have wrong mentions; 5 are needed"):
        cross_validated_scores(features, [i > 3 for i in range(20)], range(20))
    with pytest.raises(UnsupportedError, match="1 images have right mentions"):
        cross_validated_scores(
            features, [i > 9 for i in range(20)], [min(i, 10) for i in range(20)]
        )
    with pytest.raises(ValueError, match="20 rows of features, 3 labels"):
        cross_validated_scores(features, [True] * 3, range(3))
