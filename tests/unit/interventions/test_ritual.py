"""RITUAL by hand, its six transformations, and through `Lvlm` against two plain models."""

from __future__ import annotations

import colorsys
import math
from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import LogitsContext
from lvlmsal.interventions.ritual import RITUAL
from lvlmsal.interventions.ritual.transforms import KERNEL, TRANSFORMS
from tests.tiers import FAMILIES
from tests.unit.interventions.siblings import check_answers_of_two_plain_models
from tests.unit.model.test_lvlm import picture

WITH = TokenSpans(pad=0, images=((1, 3),), output_start=5, length=5)
WITHOUT = TokenSpans(pad=2, images=(), output_start=3, length=3)


def edited(edit: RITUAL, first: list[list[float]], second: list[list[float]] | None) -> Any:
    context = LogitsContext(
        None,  # type: ignore[arg-type]
        [WITH, WITHOUT][: len(first)],
        0,
        None if second is None else torch.tensor(second)[:, None],
        {},
    )
    return edit.logits(torch.tensor(first)[:, None], context)[:, 0].tolist()


def test_the_sum_by_hand_and_a_sample_without_an_image() -> None:
    rows = [[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]
    assert edited(RITUAL(beta=0), *rows) == [[1.0, 3.0], [1.0, 0.0]]
    # e^-1 is above 0.3 and below 0.4; the sample without an image is not cut either
    assert edited(RITUAL(beta=0.3), *rows) == [[1.0, 3.0], [1.0, 0.0]]
    assert edited(RITUAL(beta=0.4), *rows) == [[1.0, -math.inf], [1.0, 0.0]]


def test_the_control_is_the_sum_of_twice_the_same_and_has_no_second_stream() -> None:
    control = RITUAL(control=True, beta=0.4)
    assert not control.brings_second_stream
    assert edited(control, [[1.0, 0.0], [1.0, 0.0]], None) == [[4.0, -math.inf], [1.0, 0.0]]
    assert RITUAL(alpha=0, beta=0).is_identity
    assert not RITUAL(alpha=0).is_identity


def test_which_copy_is_a_matter_of_the_image_and_the_seed() -> None:
    images = [picture(40, 30, seed) for seed in range(240)]
    every = RITUAL()
    assert every.changed(images[0]) == every.changed(images[0].copy())
    assert RITUAL(transform_seed=1).changed(images[0]) != every.changed(images[0])
    flips = ("flip", "turn-over")
    drawn = Counter(
        name
        for image in images
        for name in flips
        if TRANSFORMS[name](image, Random()) == every.changed(image)
    )
    assert all(22 <= drawn[name] <= 60 for name in flips), "a sixth of 240 each"


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_size_stays_and_something_changes(name: str) -> None:
    image = picture(50, 34, 5)
    changed = TRANSFORMS[name](image, Random(3))
    assert changed.size == image.size
    assert changed.mode == "RGB"
    assert changed != image
    assert TRANSFORMS[name](Image.new("RGB", (5, 3), "red"), Random(3)).size == (5, 3)


def test_flips_turn_rows_and_columns() -> None:
    values = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    image = Image.fromarray(values)
    assert np.array_equal(np.asarray(TRANSFORMS["flip"](image, Random())), values[:, ::-1])
    assert np.array_equal(np.asarray(TRANSFORMS["turn-over"](image, Random())), values[::-1])


def test_a_rotation_has_black_corners_and_turns_both_ways() -> None:
    white = Image.new("RGB", (64, 64), "white")
    angles = []
    for seed in range(40):
        angle = Random(seed).uniform(-180, 180)
        angles.append(angle)
        turned = np.asarray(TRANSFORMS["rotate"](white, Random(seed)))
        assert turned[32, 32].tolist() == [255] * 3
        if 20 < abs(angle) % 90 < 70:
            assert turned[0, 0].tolist() == turned[-1, -1].tolist() == [0] * 3
    assert min(angles) < -90 < 90 < max(angles)


def test_the_blur_is_a_sum_of_gaussians() -> None:
    values = np.zeros((31, 41, 3), dtype=np.uint8)
    values[15, 20] = 255, 100, 0
    rng = Random(8)
    found = np.asarray(TRANSFORMS["blur"](Image.fromarray(values), rng)).astype(float)
    sigma = Random(8).uniform(1.5, 2.0)
    total = sum(math.exp(-(d**2) / 2 / sigma**2) for d in range(-6, 7))
    for dy, dx in ((0, 0), (1, 0), (0, 2), (3, 3), (6, 6), (7, 0)):
        share = math.exp(-(dy**2 + dx**2) / 2 / sigma**2) / total**2
        wanted = 255 * share if max(dy, dx) <= KERNEL // 2 else 0
        assert found[15 + dy, 20 + dx, 0] == pytest.approx(wanted, abs=0.5001)
    # what is all one color stays so, margins among it
    plain = Image.new("RGB", (20, 9), (10, 200, 30))
    assert TRANSFORMS["blur"](plain, Random(1)) == plain


def test_a_crop_is_a_part_of_the_image_at_its_size() -> None:
    ramp = np.tile(np.arange(120, dtype=np.uint8)[None, :, None] * 2, (90, 1, 3))
    for seed in range(30):
        values = np.asarray(TRANSFORMS["crop"](Image.fromarray(ramp), Random(seed))).astype(int)
        columns = values[45, :, 0]
        assert (np.diff(columns) >= 0).all(), "left stays left"
        share = (columns[-1] - columns[0] + 2) / 240
        assert 0.2 < share <= 1.01  # at least 8 % of the area at 3/4 is a quarter of the width


def test_colors_keep_their_place_and_grey_keeps_no_hue() -> None:
    image = Image.new("RGB", (8, 8), (200, 40, 40))
    image.paste((90, 90, 90), (0, 0, 4, 8))
    for seed in range(12):
        values = np.asarray(TRANSFORMS["color"](image, Random(seed)))
        assert len(np.unique(values[:, :4].reshape(-1, 3), axis=0)) == 1
        red, green, blue = (int(v) for v in values[0, 0])
        assert max(red, green, blue) - min(red, green, blue) <= 3
    hues = {
        round(colorsys.rgb_to_hsv(*(v / 255 for v in found))[0], 1)
        for seed in range(30)
        for found in [np.asarray(TRANSFORMS["color"](image, Random(seed)))[0, 7]]
    }
    assert len(hues) > 5


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_two_plain_models(family: str) -> None:
    edit = RITUAL(alpha=1.5, beta=0.01, transform="color")

    def combine(own: torch.Tensor, other: torch.Tensor, step: int) -> torch.Tensor:
        probs = own.softmax(-1)
        return torch.where(probs >= 0.01 * probs.max(), own + 1.5 * other, -torch.inf)

    check_answers_of_two_plain_models(family, edit, edit.changed, combine)
