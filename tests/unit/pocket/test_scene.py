"""What the scene world promises about its scenes and pictures."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.pocket.scenes.draw import area, bounding_box, draw, shape_mask
from lvlmsal.pocket.scenes.scene import (
    COLORS,
    GRID,
    KITS,
    MAX_OBJECTS,
    OBJECT_SIZE,
    SHAPES,
    SIZES,
    Scene,
    sample_crowd,
    sample_scene,
)
from lvlmsal.pocket.scenes.world import WORLD

pytestmark = pytest.mark.slow

SEEDS = st.integers(min_value=0, max_value=10**9)


def scenes(count: int, *, shifted: bool) -> list[Scene]:
    return [sample_scene(random.Random(f"{shifted}/{k}"), shifted=shifted) for k in range(count)]


@given(SEEDS, st.booleans())
def test_scene_is_well_formed(seed: int, shifted: bool) -> None:
    scene = sample_scene(random.Random(seed), shifted=shifted)
    assert (scene.width, scene.height) in SIZES
    assert 2 <= len(scene.present) <= len(scene.things) <= MAX_OBJECTS
    assert max(Counter(thing.shape for thing in scene.things).values()) <= 2
    assert len(scene.absent) >= 3
    assert not set(scene.absent) & set(scene.present)
    cells = [thing.cell for thing in scene.things]
    assert cells == sorted(set(cells))
    for shape in scene.present:
        assert len({thing.color for thing in scene.of(shape)}) == 1


@given(SEEDS)
def test_objects_stay_inside_the_picture_and_apart(seed: int) -> None:
    for scene in (sample_scene(random.Random(seed)), sample_crowd(random.Random(seed))):
        taken = np.zeros((scene.height, scene.width), dtype=int)
        for spot in (*scene.things, *scene.smudges):
            window = taken[spot.top : spot.top + spot.size, spot.left : spot.left + spot.size]
            assert window.shape == (spot.size, spot.size)
            window += 1
        assert taken.max() <= 1


@given(SEEDS)
def test_cell_tells_the_third_of_the_picture_that_an_object_stands_in(seed: int) -> None:
    scene = sample_scene(random.Random(seed))
    for thing in scene.things:
        row, column = divmod(thing.cell, GRID)
        assert int((thing.top + thing.size / 2) * GRID / scene.height) == row
        assert int((thing.left + thing.size / 2) * GRID / scene.width) == column


def test_equal_seeds_yield_equal_pictures_and_others_do_not() -> None:
    first, again, other = (draw(sample_scene(random.Random(seed))) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_pictures_show_the_objects_and_nothing_else() -> None:
    scene = replace(sample_scene(random.Random(2)), noise=0.0, smudges=())
    scene = replace(scene, things=tuple(replace(thing, strength=1.0) for thing in scene.things))
    picture = draw(scene).astype(int)
    changed = np.abs(picture - scene.level).sum(axis=2) > 0
    for thing in scene.things:
        window = (
            slice(thing.top, thing.top + thing.size),
            slice(thing.left, thing.left + thing.size),
        )
        solid = shape_mask(thing.shape, thing.size) == 1.0
        assert (picture[window][solid] == COLORS[thing.color]).all()
        changed[window] = False
    assert not changed.any()


@given(SEEDS)
def test_boxes_are_tight(seed: int) -> None:
    for thing in sample_scene(random.Random(seed)).things:
        left, top, width, height = bounding_box(thing)
        mask = shape_mask(thing.shape, thing.size) > 0.5
        x, y = left - thing.left, top - thing.top
        inside = mask[y : y + height, x : x + width]
        assert inside.sum() == mask.sum() == area(thing)
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()


def test_shapes_look_different() -> None:
    for one, other in combinations(SHAPES, 2):
        gap = np.abs(shape_mask(one, OBJECT_SIZE) - shape_mask(other, OBJECT_SIZE)).mean()
        assert gap > 0.08, (one, other)


def test_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="'blob'"):
        shape_mask("blob", OBJECT_SIZE)


def test_some_objects_are_faint_and_some_pictures_have_smudges() -> None:
    drawn = scenes(300, shifted=False)
    faint = [thing.strength < 0.2 for scene in drawn for thing in scene.things]
    assert 0.2 < sum(faint) / len(faint) < 0.35
    assert 0.2 < sum(bool(scene.smudges) for scene in drawn) / len(drawn) < 0.4


def same_kit_share(drawn: list[Scene]) -> float:
    kit_of = {shape: number for number, kit in enumerate(KITS) for shape in kit}
    pairs = [pair for scene in drawn for pair in combinations(scene.present, 2)]
    return sum(kit_of[one] == kit_of[other] for one, other in pairs) / len(pairs)


def test_only_biased_scenes_keep_company() -> None:
    # two shapes drawn blindly from sixteen are of one kit in 3 of 15 cases
    assert same_kit_share(scenes(400, shifted=False)) > 0.6
    assert same_kit_share(scenes(400, shifted=True)) == pytest.approx(0.2, abs=0.06)


def test_only_biased_scenes_have_frequent_and_rare_shapes() -> None:
    biased = Counter(shape for scene in scenes(600, shifted=False) for shape in scene.present)
    shifted = Counter(shape for scene in scenes(600, shifted=True) for shape in scene.present)
    assert biased["star"] > 2 * biased["hourglass"]
    assert max(shifted.values()) < 1.6 * min(shifted[shape] for shape in SHAPES)


def test_training_statistics_name_the_kits() -> None:
    frequency, together = WORLD.statistics
    assert max(frequency, key=lambda shape: frequency[shape]) == "star"
    for kit in KITS:
        best = max(SHAPES, key=lambda shape: together.get((kit[0], shape), 0))
        assert best in kit[1:]
    assert all(together[one, other] == together[other, one] for one, other in together)


def test_crowds_fill_every_cell_with_any_shape() -> None:
    crowds = [sample_crowd(random.Random(seed)) for seed in range(200)]
    assert all([thing.cell for thing in crowd.things] == list(range(9)) for crowd in crowds)
    count = Counter(thing.shape for crowd in crowds for thing in crowd.things)
    assert min(count[shape] for shape in SHAPES) > 0.6 * max(count.values())
