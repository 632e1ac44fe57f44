"""Scores of detectors on made-up mentions: by hand, and where a score must be seen through."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from lvlmsal.analysis.detector_mentions import DetectedMention
from lvlmsal.analysis.detector_scores import (
    REFERENCE,
    DetectorScores,
    out_of_fold_chances,
    score_detectors,
)


def mention(
    image: int, wrong: bool, scores: dict[str, float], *, earlier: int = 0
) -> DetectedMention:
    return DetectedMention(
        "m", "greedy", "chair", str(image), str(image), "dog", 3, earlier, wrong, scores
    )


def made_up(images: int = 60, seed: int = 0) -> list[DetectedMention]:
    """Two right mentions and a wrong one an image; "good" knows, "noise" does not."""
    rng = random.Random(seed)
    found = []
    for image in range(images):
        for wrong in (False, False, True):
            scores = {
                REFERENCE: rng.random() + 0.3 * wrong,
                "good": rng.random() + 0.9 * wrong,
                "noise": rng.random(),
            }
            found.append(mention(image, wrong, scores))
    return found


def by_name(mentions: list[DetectedMention]) -> dict[str, DetectorScores]:
    return {entry.detector: entry for entry in score_detectors(mentions, draws=300).detectors}


def test_scores_by_hand() -> None:
    values = [(0.1, False), (0.2, False), (0.3, True), (0.4, False), (0.9, True)]
    mentions = [mention(at, wrong, {"d": score}) for at, (score, wrong) in enumerate(values)]
    cell = score_detectors(mentions, draws=50)
    assert (cell.mentions, cell.wrong, cell.images, cell.left_out) == (5, 2, 5, 0)
    assert cell.base_rate == pytest.approx(0.4)
    assert cell.best == pytest.approx((0 + 0 + 0 + 1 / 4 + 2 / 5) / 5)
    entry = by_name(mentions)["d"]
    assert entry.auroc.value == pytest.approx(5 / 6)
    assert entry.gain is None
    # the riskiest is wrong, then a right one, then a wrong one
    assert entry.precision == pytest.approx((1 + 2 / 3) / 2)
    assert entry.aurc == pytest.approx((0 + 0 + 1 / 3 + 1 / 4 + 2 / 5) / 5)
    # no right mention may be flagged where 5 % of three are
    assert entry.recall == pytest.approx(0.5)
    assert math.isnan(entry.ece)


def test_gains_are_paired_and_signed() -> None:
    found = by_name(made_up())
    assert found[REFERENCE].gain is None
    good, noise = found["good"].gain, found["noise"].gain
    assert good is not None
    assert noise is not None
    assert good.value == pytest.approx(found["good"].auroc.value - found[REFERENCE].auroc.value)
    assert 0 < good.low <= good.value <= good.high
    assert noise.low <= noise.value <= noise.high < 0
    assert next(iter(found)) == "good"


def test_first_mentions_count_and_repetition_is_seen_through() -> None:
    mentions = made_up()
    rng = random.Random(1)
    # repeated right mentions, of which a score that reads repetition is sure
    repeats = [
        mention(
            one % 60,
            False,
            {name: rng.random() for name in (REFERENCE, "good", "noise")},
            earlier=2,
        )
        for one in range(90)
    ]
    found = by_name([*mentions, *repeats])
    assert found["good"].auroc.value == by_name(mentions)["good"].auroc.value
    assert found["repetition"].auroc.value == pytest.approx(0.5)
    assert found["repetition"].every.value > 0.65
    assert score_detectors([*mentions, *repeats], draws=10).mentions == 180


def test_mentions_without_a_score_are_left_out_of_all() -> None:
    mentions = made_up(20)
    odd = mention(99, True, {REFERENCE: 0.5, "good": math.nan, "noise": 0.5})
    cell = score_detectors([*mentions, odd], draws=10)
    assert (cell.mentions, cell.left_out) == (60, 1)


def test_who_asks_changes_no_figure_of_the_others() -> None:
    rng = random.Random(3)
    plain = made_up(40)
    asked = []
    for at, one in enumerate(plain):
        value = math.nan if at % 4 == 0 else rng.random() + one.wrong
        more = {"self-question": value, "sampled-consistency": rng.random()}
        asked.append(replace(one, scores={**one.scores, **more}))
    others, found = by_name(plain), by_name(asked)
    assert {name: found[name] for name in others} == others
    cell = score_detectors(asked, draws=10)
    assert (cell.mentions, cell.left_out) == (120, 0)
    assert found["sampled-consistency"].unjudged == 0
    # on the mentions that it judges, as if there were no others
    kept = [one for one in asked if not math.isnan(one.scores["self-question"])]
    assert found["self-question"] == replace(by_name(kept)["self-question"], unjudged=30)
    assert found["self-question"].gain is not None


def test_who_asks_and_judges_nothing_is_told() -> None:
    mentions = [
        replace(one, scores={**one.scores, "self-question": math.nan}) for one in made_up(10)
    ]
    found = by_name(mentions)["self-question"]
    assert found.unjudged == 30
    assert math.isnan(found.auroc.value)


def test_one_kind_alone_has_no_ranking() -> None:
    cell = score_detectors([mention(at, False, {"d": at / 9}) for at in range(9)], draws=10)
    (entry,) = [one for one in cell.detectors if one.detector == "d"]
    assert math.isnan(entry.auroc.value)
    assert math.isnan(entry.precision)
    assert entry.aurc == 0
    assert score_detectors([]).mentions == 0


def test_chances_come_from_other_images() -> None:
    """An image whose score says the opposite of all others must not calibrate itself."""
    scores = torch.tensor([0.0, 1.0] * 20 + [0.0, 1.0])
    wrong = torch.tensor([False, True] * 20 + [True, False])
    images = [at // 2 for at in range(42)]
    chances = out_of_fold_chances(scores, wrong, images)
    assert chances is not None
    assert chances[-2:].tolist() == [0.0, 1.0]
    assert out_of_fold_chances(scores[:6], wrong[:6], images[:6]) is None


def test_calibrated_chances_have_a_small_error() -> None:
    rng = random.Random(2)
    mentions = []
    for image in range(400):
        score = rng.random()
        mentions.append(mention(image, rng.random() < score**2, {"d": 100 * score}))
    (entry,) = [e for e in score_detectors(mentions, draws=10).detectors if e.detector == "d"]
    assert entry.ece < 0.08


def test_errors_of_expecting_and_of_seeing_by_hand() -> None:
    values = [
        (0.1, False, False),
        (0.4, False, True),
        (0.2, True, True),  # above one of the two right ones
        (0.9, True, False),  # above both
        (0.3, True, False),  # above one
    ]
    mentions = [
        replace(mention(at, wrong, {"d": score}), expected=expected)
        for at, (score, wrong, expected) in enumerate(values)
    ]
    cell = score_detectors(mentions, draws=20)
    assert (cell.wrong, cell.expected) == (3, 1)
    (entry,) = [one for one in cell.detectors if one.detector == "d"]
    assert entry.expecting is not None
    assert entry.seeing is not None
    assert entry.expecting.value == pytest.approx(1 / 2)
    assert entry.seeing.value == pytest.approx(3 / 4)
    # where nothing is known of habits, nothing is said of them
    cell = score_detectors([replace(one, expected=None) for one in mentions], draws=20)
    assert cell.expected is None
    assert all(one.expecting is None and one.seeing is None for one in cell.detectors)
