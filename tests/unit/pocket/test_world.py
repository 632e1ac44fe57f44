"""The files of the scene world."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lvlmsal.pocket.files.folder as folder_module
from lvlmsal.pocket.files.coco import CAPTIONS_PER_IMAGE
from lvlmsal.pocket.files.pope import POPE_SPLITS, absent_classes
from lvlmsal.pocket.scenes.draw import bounding_box, draw
from lvlmsal.pocket.scenes.scene import SHAPES
from lvlmsal.pocket.scenes.world import WORLD, file_name, scene_number, write_world
from lvlmsal.pocket.training.score import mentions

pytestmark = pytest.mark.slow

IMAGES, SEED = 40, 7


@pytest.fixture(scope="module", params=[False, True], ids=["biased", "shifted"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / f"shifted-{request.param}"
    return write_world(root, images=IMAGES, seed=SEED, shifted=request.param)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def present_by_image(world: Path) -> dict[str, set[str]]:
    content = read(world / "annotations/instances.json")
    names = {category["id"]: category["name"] for category in content["categories"]}
    files = {image["id"]: image["file_name"] for image in content["images"]}
    present: dict[str, set[str]] = defaultdict(set)
    for annotation in content["annotations"]:
        present[files[annotation["image_id"]]].add(names[annotation["category_id"]])
    return present


def test_images_show_their_scenes(world: Path) -> None:
    shifted = read(world / "world.json")["shifted"]
    assert len(list((world / "images").iterdir())) == IMAGES
    for index in range(0, IMAGES, 7):
        scene = scene_number(index, seed=SEED, shifted=shifted)
        with Image.open(world / "images" / file_name(index + 1)) as image:
            assert image.size == (scene.width, scene.height)
            assert np.array_equal(np.asarray(image), draw(scene))


def test_annotations_agree_with_the_scenes(world: Path) -> None:
    shifted = read(world / "world.json")["shifted"]
    content = read(world / "annotations/instances.json")
    assert [category["name"] for category in content["categories"]] == list(SHAPES)
    assert len({annotation["id"] for annotation in content["annotations"]}) == len(
        content["annotations"]
    )
    for image in content["images"]:
        scene = scene_number(image["id"] - 1, seed=SEED, shifted=shifted)
        assert image["file_name"] == file_name(image["id"])
        assert (image["width"], image["height"]) == (scene.width, scene.height)
        found = [
            (SHAPES[annotation["category_id"] - 1], tuple(annotation["bbox"]))
            for annotation in content["annotations"]
            if annotation["image_id"] == image["id"]
        ]
        assert found == [(thing.shape, bounding_box(thing)) for thing in scene.things]


def test_captions_are_several_and_true(world: Path) -> None:
    content = read(world / "annotations/captions.json")
    count = Counter(annotation["image_id"] for annotation in content["annotations"])
    assert count == dict.fromkeys(range(1, IMAGES + 1), CAPTIONS_PER_IMAGE)
    present = present_by_image(world)
    for annotation in content["annotations"]:
        assert set(mentions(annotation["caption"])) == present[file_name(annotation["image_id"])]


@pytest.mark.parametrize("split", POPE_SPLITS)
def test_pope_labels_are_true_and_balanced(world: Path, split: str) -> None:
    rows = lines(world / f"pope/scene_pope_{split}.json")
    present = present_by_image(world)
    assert [row["question_id"] for row in rows] == list(range(1, len(rows) + 1))
    by_image: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_image[row["image"]].append(row)
        shape = mentions(row["text"])[0]
        assert row["label"] == ("yes" if shape in present[row["image"]] else "no")
    assert set(by_image) == set(present)
    for image, asked in by_image.items():
        each = min(3, len(present[image]))
        assert Counter(row["label"] for row in asked) == {"yes": each, "no": each}
        assert len({row["text"] for row in asked}) == len(asked)


def test_popular_and_adversarial_ask_about_the_likely_absent_ones(world: Path) -> None:
    frequency, together = WORLD.statistics
    present = present_by_image(world)

    def mean(split: str, worth: Any) -> float:
        asked = [
            worth(row["image"], mentions(row["text"])[0])
            for row in lines(world / f"pope/scene_pope_{split}.json")
            if row["label"] == "no"
        ]
        return float(np.mean(asked))

    def popularity(_: str, shape: str) -> int:
        return frequency[shape]

    def company(image: str, shape: str) -> int:
        return sum(together.get((other, shape), 0) for other in present[image])

    assert mean("popular", popularity) > 1.2 * mean("random", popularity)
    assert mean("adversarial", company) > 1.5 * mean("random", company)
    assert mean("adversarial", company) > mean("popular", company)


def test_vocabulary_has_the_format_of_chair(world: Path) -> None:
    rows = (world / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    assert [row.split(", ")[0] for row in rows] == list(SHAPES)
    assert "cross, crosses" in rows


def test_image_k_is_the_same_however_many_there_are(tmp_path: Path) -> None:
    small = write_world(tmp_path / "small", images=2, seed=SEED, shifted=False)
    large = write_world(tmp_path / "large", images=5, seed=SEED, shifted=False)
    for number in (1, 2):
        name = f"images/{file_name(number)}"
        assert (small / name).read_bytes() == (large / name).read_bytes()
    few, many = (read(path / "annotations/captions.json") for path in (small, large))
    assert many["annotations"][: len(few["annotations"])] == few["annotations"]
    for split in POPE_SPLITS:
        few_rows, many_rows = (
            lines(path / f"pope/scene_pope_{split}.json") for path in (small, large)
        )
        assert many_rows[: len(few_rows)] == few_rows


def test_other_seeds_and_shifts_yield_other_scenes() -> None:
    scenes = {
        scene_number(0, seed=seed, shifted=shifted) for seed in (0, 1) for shifted in (False, True)
    }
    assert len(scenes) == 4


def test_a_whole_world_is_left_alone(tmp_path: Path) -> None:
    root = write_world(tmp_path / "w", images=2, seed=1, shifted=True)
    stamp = (root / "world.json").stat().st_mtime_ns
    assert write_world(root, images=2, seed=1, shifted=True) == root
    assert (root / "world.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    "other",
    [
        {"images": 3, "seed": 1, "shifted": True},
        {"images": 2, "seed": 2, "shifted": True},
        {"images": 2, "seed": 1, "shifted": False},
    ],
)
def test_another_world_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    write_world(tmp_path / "w", images=2, seed=1, shifted=True)
    with pytest.raises(FileExistsError, match="another world"):
        write_world(tmp_path / "w", **other)


def test_a_damaged_world_is_refused(tmp_path: Path) -> None:
    root = write_world(tmp_path / "w", images=2, seed=1, shifted=True)
    (root / "vocabulary.txt").write_text("star\n", encoding="utf-8")
    with pytest.raises(FileExistsError, match="digest"):
        write_world(root, images=2, seed=1, shifted=True)


def test_foreign_files_are_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="no whole world"):
        write_world(tmp_path / "w", images=2, seed=1, shifted=True)
    assert (tmp_path / "w" / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_a_killed_write_leaves_nothing_that_passes_for_a_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = folder_module._files, 0

    def dying(*args: Any) -> Any:
        nonlocal calls
        for entry in real(*args):
            calls += 1
            if calls == 4:
                raise KeyboardInterrupt
            yield entry

    monkeypatch.setattr(folder_module, "_files", dying)
    with pytest.raises(KeyboardInterrupt):
        write_world(tmp_path / "w", images=5, seed=1, shifted=False)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    # what SIGKILL leaves is a hidden folder next to it; it does not stand in the way
    (tmp_path / ".w-left-over" / "images").mkdir(parents=True)
    root = write_world(tmp_path / "w", images=5, seed=1, shifted=False)
    assert len(list((root / "images").iterdir())) == 5


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="images=0"):
        write_world(tmp_path / "w", images=0, seed=1, shifted=False)
    scene = scene_number(0, seed=0, shifted=False)
    with pytest.raises(ValueError, match="unknown POPE split 'hard'"):
        absent_classes(WORLD, scene, "hard", random.Random(0))
