"""What is measured of captions of the sticker world, on cases counted by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from lvlmsal.pocket.stickers.places import PLACES
from lvlmsal.pocket.stickers.scene import Scene, sample_scene
from lvlmsal.pocket.training.score import main, score_captions, score_habits
from lvlmsal.pocket.training.worlds import STICKERS


def scene(place: str, *names: str) -> Scene:
    made = sample_scene(random.Random(0))
    return replace(made, place=place, things=tuple(replace(made.things[0], name=n) for n in names))


SCENES = [scene("street", "car", "dog"), scene("snowy hill", "skis", "person")]
CAPTIONS = [
    # right: automobile; wrong: a bus, which streets suggest, and a bed, which they do not
    "A view of a street: a red automobile is on the left. There is a bus. Below it is a bed.",
    # right: both; wrong: an oven, which the world does not even have
    "A pedestrian is above a pair of blue skis. There is an oven.",
]


def test_captions_are_counted_over_all_of_cocos_classes() -> None:
    result = score_captions(STICKERS, SCENES, CAPTIONS)
    assert result["chair_i"] == 3 / 6
    assert result["chair_s"] == 1.0
    assert result["recall"] == 3 / 4
    said = {"car", "bus", "bed", "person", "skis"}
    assert set(result["never_said"]) == set(STICKERS.classes) - said


def test_wrong_mentions_are_told_apart_by_whether_the_place_suggests_them() -> None:
    result = score_habits(SCENES, CAPTIONS)
    street, hill = PLACES["street"].habits, PLACES["snowy hill"].habits
    assert "bus" in street
    assert "bed" not in street
    chance = ((len(street) - 1) / 65 + (len(hill) - 2) / 65) / 2
    assert result == {"wrong": 3, "suggested": 1 / 3, "by_chance": pytest.approx(chance)}
    assert score_habits(SCENES[:1], ["A car."])["suggested"] is None


def test_a_folder_of_another_name_needs_its_world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path / "mine")])
    assert "--world shapes or stickers" in capsys.readouterr().err
