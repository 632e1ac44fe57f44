"""What the habits of a scene world suggest, image by image."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lvlmsal.analysis.expectations import Expectations
from lvlmsal.benchmarks.chair.benchmark import Chair
from lvlmsal.pocket.files.folder import write_world
from lvlmsal.pocket.scenes.scene import KITS
from lvlmsal.pocket.stickers.places import PLACES
from lvlmsal.pocket.worlds import WORLDS


def test_habits_of_shapes_are_their_kits(tmp_path: Path) -> None:
    world = WORLDS["shapes"]
    write_world(world, tmp_path / "world", images=6, seed=3, shifted=True)
    benchmark = Chair(root=str(tmp_path / "world"))
    found = Expectations.of(benchmark)
    assert found is not None
    for sample in benchmark.samples():
        there = set(sample.target)  # as the annotations have it
        company = {shape for kit in KITS if there & set(kit) for shape in kit}
        assert found.suggested[sample.id] == company
        absent = {shape for kit in KITS for shape in kit} - there
        assert found.chance[sample.id] == pytest.approx(len(company & absent) / len(absent))
        assert all(found.suggests(sample, name) == (name in company) for name in absent)
    assert found.note().startswith("habits suggest ")


def test_habits_of_stickers_are_those_of_the_place() -> None:
    world = WORLDS["stickers"]
    scene = world.scene_number(0, seed=3, shifted=True)
    assert world.suggested(scene) == set(PLACES[scene.place].habits)


def test_other_images_have_no_habits(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert Expectations.of(Chair(root=str(tmp_path))) is None
