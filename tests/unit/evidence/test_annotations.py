"""The truth as evidence: on a world's own files, and what is no image of theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lvlmsal.adapters import open_image
from lvlmsal.errors import DataError
from lvlmsal.evidence import Annotations
from lvlmsal.pocket.scenes.world import write_world
from tests.unit.model.test_lvlm import picture


def test_objects_of_a_world_are_those_of_its_annotations(tmp_path: Path) -> None:
    root = write_world(tmp_path / "world", images=4, seed=3, shifted=True)
    file = root / "annotations" / "instances.json"
    truth = json.loads(file.read_text())
    names = {entry["id"]: entry["name"] for entry in truth["categories"]}
    evidence = Annotations(str(file), str(root / "images"))
    for entry in reversed(truth["images"]):
        found = evidence.objects(open_image(root / "images" / entry["file_name"]))
        mine = [each for each in truth["annotations"] if each["image_id"] == entry["id"]]
        assert {word for word, _ in found} == {names[each["category_id"]] for each in mine}
        for category, name in names.items():
            boxes = evidence.boxes(open_image(root / "images" / entry["file_name"]), name)
            own = [each["bbox"] for each in mine if each["category_id"] == category]
            sides = [
                [
                    box.left * entry["width"],
                    box.top * entry["height"],
                    (box.right - box.left) * entry["width"],
                    (box.bottom - box.top) * entry["height"],
                ]
                for box in boxes
            ]
            assert sorted(sides) == [pytest.approx(box, abs=1e-9) for box in sorted(own)]
            assert [box.area for box in boxes] == sorted((b.area for b in boxes), reverse=True)
        largest = max(mine, key=lambda each: each["bbox"][2] * each["bbox"][3])
        assert found[0] == (names[largest["category_id"]], 1.0)
        assert len(found) == len(dict(found))
    with pytest.raises(DataError, match="is the one of 61 x 44 pixels"):
        evidence.objects(picture(61, 44))
    with pytest.raises(DataError, match="'unicorn' is, and none of the categories has this name"):
        evidence.boxes(picture(61, 44), "unicorn")
    assert len(evidence.version) == 16


def test_what_is_no_file_of_annotations(tmp_path: Path) -> None:
    missing = Annotations(str(tmp_path / "none.json"), str(tmp_path))
    with pytest.raises(DataError, match=r"none\.json: the annotations cannot be read: No such"):
        missing.objects(picture())
    (tmp_path / "other.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(DataError, match="it has no categories"):
        Annotations(str(tmp_path / "other.json"), str(tmp_path)).objects(picture())
