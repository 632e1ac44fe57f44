"""Evidence from a file, what its lines may hold, the stand-in, and how configs name either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lvlmsal.cli.listing import about, listing
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.evidence import (
    Box,
    Detector,
    FileEvidence,
    ObjectLister,
    RelevanceMap,
    StandIn,
    TextScorer,
    open_evidence,
)
from lvlmsal.pictures import digest_of
from lvlmsal.registry import EVIDENCE

RED, BLUE = (Image.new("RGB", (6, 4), color) for color in ("red", "blue"))


def written(folder: Path, *lines: dict[str, Any]) -> FileEvidence:
    file = folder / "evidence.jsonl"
    file.write_text("".join(json.dumps(line) + "\n\n" for line in lines))
    return FileEvidence(str(file))


def test_what_is_told_of_images_by_path_and_by_digest(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    RED.save(tmp_path / "images" / "red.png")
    blue = digest_of(BLUE)
    found = written(
        tmp_path,
        {"image": "images/red.png", "objects": [["dog", 0.9], "cat"]},
        {"digest": blue, "objects": []},
        {"digest": blue, "map": [[1, 2], [3, 4]], "similarity": 0.5},
        {"digest": blue, "text": "Why?", "map": [[9]], "similarity": -0.1},
        {"digest": blue, "objects": ["cow"]},
    )
    assert found.objects(RED) == [("dog", 0.9), ("cat", 1.0)]
    assert found.objects(BLUE) == [("cow", 1.0)], "the last line counts"
    assert np.array_equal(found.relevance(BLUE, "What?").map, [[1, 2], [3, 4]])
    assert found.relevance(BLUE, "What?").similarity == 0.5
    assert found.relevance(BLUE, "Why?").map.tolist() == [[9]]
    assert found.relevance(BLUE, "Why?").map.dtype == np.float32
    green = Image.new("RGB", (6, 4), "green")
    with pytest.raises(DataError, match=r"of 6 x 4 pixels.*" + digest_of(green)):
        found.objects(green)
    with pytest.raises(DataError, match=r'"text": "Why\?", "map": \['):
        found.relevance(RED, "Why?")


def test_boxes_of_words_and_scores_of_texts(tmp_path: Path) -> None:
    red, blue = (digest_of(image) for image in (RED, BLUE))
    found = written(
        tmp_path,
        {"digest": red, "word": "Dog", "boxes": [[0, 0.1, 0.5, 0.6, 0.3], [0, 0, 1, 1, 0.9]]},
        {"digest": red, "word": "cat", "boxes": []},
        {"digest": blue, "word": "dog", "boxes": [[0.5, 0.5, 0.75, 1]]},
        {"digest": blue, "text": "A dog", "score": 2},
        {"digest": blue, "text": "A cat", "score": -0.5},
        {"digest": blue, "text": "A dog", "map": [[1]], "similarity": 0},
    )
    assert found.boxes(RED, "dog") == [Box(0, 0, 1, 1, 0.9), Box(0, 0.1, 0.5, 0.6, 0.3)]
    assert found.boxes(RED, "cat") == []
    assert found.boxes(BLUE, "DOG") == [Box(0.5, 0.5, 0.75, 1, 1.0)]
    assert found.scores(BLUE, ["A cat", "A dog"]) == [-0.5, 2.0]
    with pytest.raises(DataError, match=rf'{blue}", "word": "cow", "boxes": \[\['):
        found.boxes(BLUE, "cow")
    with pytest.raises(DataError, match=rf'{red}", "text": "A dog", "score": '):
        found.scores(RED, ["A dog"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"objects": []}, 'expected either "image" or "digest"'),
        ({"image": "a", "digest": "b", "objects": []}, 'expected either "image" or "digest"'),
        ({"digest": "b"}, "it tells nothing: expected one of objects, map, boxes, score"),
        ({"digest": "b", "objects": "dog"}, "objects must be a list, got 'dog'"),
        ({"digest": "b", "objects": [["dog"]]}, r"must be a word or \[\"word\", score\], got"),
        ({"digest": "b", "map": [[1]]}, 'its "similarity"'),
        ({"digest": "b", "map": [[1], [2, 3]], "similarity": 0}, "rows .* differ in length"),
        ({"digest": "b", "boxes": []}, 'expected the "word" of which it tells "boxes"'),
        ({"digest": "b", "score": 1}, 'expected the "text" of which it tells a "score"'),
        ({"digest": "b", "word": "x", "boxes": [[0, 0, 1]]}, r'"boxes" must be \[left, top, right'),
        ({"digest": "b", "word": "x", "boxes": [[0.5, 0, 0.5, 1]]}, r"got \[0.5, 0, 0.5, 1\]"),
        ({"digest": "b", "word": "x", "boxes": [[0, 0, 3, 1]]}, "each from 0 to 1"),
        ({"digest": "b", "map": [["x"]], "similarity": 0}, r"map\[0\]\[0\] must be a number"),
    ],
)
def test_what_a_line_may_not_hold(line: dict[str, Any], message: str, tmp_path: Path) -> None:
    found = written(tmp_path, {"digest": "c", "objects": []}, line)
    with pytest.raises(DataError, match=message) as caught:
        found.objects(RED)
    assert caught.value.line == 3


def test_a_file_that_is_none(tmp_path: Path) -> None:
    missing = FileEvidence(str(tmp_path / "none.jsonl"))
    for ask in (lambda: missing.objects(RED), lambda: missing.version):
        with pytest.raises(DataError, match="the evidence cannot be read: No such file"):
            ask()
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(DataError, match="1: this is not JSON"):
        FileEvidence(str(tmp_path / "bad.jsonl")).objects(RED)


def test_the_version_is_that_of_the_content(tmp_path: Path) -> None:
    versions = []
    for name in ("a", "a", "b"):
        versions.append(written(tmp_path, {"digest": name, "objects": []}).version)
    assert versions[0] == versions[1] != versions[2]
    assert len(versions[0]) == 16


def test_the_stand_in_says_the_same_of_every_image() -> None:
    for kind in (ObjectLister, RelevanceMap, Detector, TextScorer):
        assert isinstance(open_evidence("stand-in", kind), kind)
    one = StandIn()
    assert one.objects(RED) == one.objects(BLUE)
    assert np.array_equal(one.relevance(RED, "a").map, one.relevance(BLUE, "b").map)
    assert one.boxes(RED, "dog") == one.boxes(BLUE, "cat") == [Box(0.25, 0.25, 0.75, 0.75)]
    assert one.scores(RED, ["one", "three"]) == [3.0, 5.0]


def test_how_a_config_names_it(tmp_path: Path) -> None:
    file = written(tmp_path, {"digest": digest_of(RED), "objects": ["dog"]})
    spec = {"name": "file", "path": file.path}
    found = open_evidence(spec, ObjectLister)
    assert found.objects(RED) == [("dog", 1.0)]
    assert open_evidence(dict(spec), ObjectLister) is found
    written(tmp_path, {"digest": digest_of(RED), "objects": ["dog", "cat"]})
    assert found.objects(RED) == [("dog", 1.0), ("cat", 1.0)], "the file has changed"
    with pytest.raises(ConfigError, match="evidence has no name"):
        open_evidence({"path": "x"}, ObjectLister)
    with pytest.raises(ConfigError, match="tells objects, and this method asks for relevance"):
        open_evidence("object-detection", RelevanceMap)
    with pytest.raises(ConfigError, match="unknown option 'pat'"):
        open_evidence({"name": "file", "pat": "x"}, ObjectLister)


def test_listings_show_what_each_tells() -> None:
    names = [entry["name"] for entry in listing("evidence")["evidence"]]
    assert {"blip-matching", "file", "object-detection", "stand-in"} <= set(names)
    assert about("evidence", "blip-matching")["tells"] == ["relevance of places", "scores of texts"]
    assert about("interventions", "agla")["asks_evidence_for"] == "relevance of places"
    assert "asks_evidence_for" not in about("interventions", "locore")
    everything = ["objects", "relevance of places", "boxes of words", "scores of texts"]
    assert about("evidence", "file")["tells"] == everything
    assert EVIDENCE.outline("file").tells() == tuple(everything)
