"""Files of labels: spans are characters of the answers, and broken files say where they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.analysis.label_files import FORMATS
from lvlmsal.analysis.label_files.answers import LabeledAnswer
from lvlmsal.analysis.label_files.formats import READERS, read_labeled
from lvlmsal.errors import DataError, UnknownName

LINE: dict[str, Any] = {
    "image": "a.png",
    "prompt": "What is it?",
    "answer": "a dog and a cat",
    "labels": [{"start": 12, "end": 15, "wrong": True}, {"start": 2, "end": 5, "wrong": False}],
}
SEGMENTS: dict[str, Any] = {
    "question": "<image>\nWhat is there?",
    "response": "A dog. It barks. Nice.",
    "image": "COCO_val2014_000000000042.jpg",
    "annotations": [
        {"start": 0, "end": 6, "text": "A dog.", "label": "ACCURATE"},
        {"start": 6, "end": 16, "text": " It barks.", "label": "INACCURATE"},
        {"start": 17, "end": 22, "text": "Nice.", "label": "ANALYSIS"},
    ],
}
WRITTEN: dict[str, Any] = {
    "id": "vqa_1",
    "image_id": 2317429,
    "prompt": "<image> Describe the image briefly.",
    "hallucinated_text": "A red bus, a truck and a dog near a cat.",
    "annotations": {
        "object": [{"obj": {"name": "truck", "char_index": "13:18"}}],
        "attribute": [{"obj": {"name": "bus", "char_index": "6:9"}}],
        "relationship": [],
        "scene": [],
    },
}
CLAIMS: dict[str, Any] = {
    "id": 6,
    "image_path": "/TextVQA/train_images/160d.jpg",
    "claim_list": ["The brand is Toshiba", "There is a laptop"],
    "ref_claim_label": ["hallucination", "non-hallucination"],
}
CLAIM: dict[str, Any] = {"image_path": "x/1.png", "response": "A cat.", "label": "hallucination"}
FACTS: dict[str, Any] = {
    "id": "000000525439",
    "answer": "The skateboard is on a ramp.",
    "stage 1": {"The skateboard is on a ramp": 1},
    "stage 2": {"There is a skateboard.": 1, "There is a ramp.": 0},
}


def file(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def spans(found: LabeledAnswer) -> list[tuple[str, bool]]:
    return [(found.answer[label.start : label.end], label.wrong) for label in found.labels]


def test_every_format_has_a_name() -> None:
    assert tuple(READERS) == FORMATS


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'halloc'"):
        read_labeled(file(tmp_path, LINE), "haloc")


def test_labels_are_slices_of_the_answer(tmp_path: Path) -> None:
    (found,) = read_labeled(file(tmp_path, LINE))
    words = [found.answer[label.start : label.end] for label in found.labels]
    assert words == ["cat", "dog"]
    assert (found.own, found.group, found.images) == (False, "a.png", (tmp_path / "a.png",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": None}, "'answer' must be a string"),
        ({"labels": None}, "'labels' must be a list of spans"),
        ({"labels": [{"start": 3, "end": 99, "wrong": True}]}, "which has 15: got"),
        ({"labels": [{"start": 5, "end": 5, "wrong": True}]}, "a label must be"),
        ({"labels": [{"start": 1, "end": 2, "wrong": 1}]}, "a label must be"),
        ({"labels": [[1, 2, True]]}, "a label must be"),
        ({"image": 3}, "'image' must be a path or a list of paths, got 3"),
        ({"own": "yes"}, "'own' must be true or false"),
    ],
)
def test_lines_that_are_wrong_are_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as told:
        read_labeled(file(tmp_path, LINE, {**LINE, **change}))
    assert told.value.line == 2


def test_segments_of_m_haldetect(tmp_path: Path) -> None:
    images = tmp_path / "val2014"
    (found,) = read_labeled(file(tmp_path, SEGMENTS), "m-haldetect", images)
    assert spans(found) == [("A dog.", False), (" It barks.", True)]
    assert found.images == (images / "COCO_val2014_000000000042.jpg",)
    assert (found.prompt, found.own, found.aggregate) == ("What is there?", False, "mean")
    numbered = {**SEGMENTS, "image": 42}
    (same,) = read_labeled(file(tmp_path, numbered), "m-haldetect", images)
    assert same.images == found.images


def test_objects_of_halloc(tmp_path: Path) -> None:
    (found,) = read_labeled(file(tmp_path, WRITTEN), "halloc")
    # the bus stands in an annotation of another kind: neither right nor wrong
    assert sorted(spans(found)) == [("cat", False), ("dog", False), ("truck", True)]
    assert (found.images, found.group) == ((tmp_path / "2317429.jpg",), "2317429")
    assert (found.prompt, found.own) == ("Describe the image briefly.", False)


def test_claims_of_mhalubench(tmp_path: Path) -> None:
    there = tmp_path / "x"
    there.mkdir()
    (there / "1.png").write_text("")
    found = read_labeled(file(tmp_path, CLAIMS, CLAIM), "mhalubench")
    assert [spans(one) for one in found] == [
        [("The brand is Toshiba", True)],
        [("There is a laptop", False)],
        [("A cat.", True)],
    ]
    # claims about an image stay together; it lies under its path, or else under its name
    assert [one.group for one in found] == ["160d.jpg", "160d.jpg", "1.png"]
    assert [one.images for one in found[1:]] == [(tmp_path / "160d.jpg",), (there / "1.png",)]


def test_facts_of_faithscore(tmp_path: Path) -> None:
    found = read_labeled(file(tmp_path, FACTS), "faithscore")
    assert [spans(one) for one in found] == [
        [("There is a skateboard.", False)],
        [("There is a ramp.", True)],
    ]
    assert {one.group for one in found} == {"COCO_val2014_000000525439.jpg"}
    assert not any(one.own for one in found)


@pytest.mark.parametrize(
    ("format", "good", "change", "message"),
    [
        ("m-haldetect", SEGMENTS, {"response": None}, "'response' must be a string"),
        ("m-haldetect", SEGMENTS, {"annotations": "x"}, "'annotations' must be a list of objects"),
        (
            *("m-haldetect", SEGMENTS),
            {"annotations": [{"start": 0, "end": 6, "text": "A cat.", "label": "ACCURATE"}]},
            "the characters 0 to 6 of the response are 'A dog.', and 'text' is 'A cat.'",
        ),
        (
            *("m-haldetect", SEGMENTS),
            {"annotations": [{"start": 0, "end": 6, "text": "A dog.", "label": "FINE"}]},
            "'label' must be one of ACCURATE, INACCURATE, ANALYSIS, UNSURE, got 'FINE'",
        ),
        ("m-haldetect", SEGMENTS, {"annotations": [{"start": 4}]}, "22 characters: got"),
        ("halloc", WRITTEN, {"image_id": None}, "'image_id': an id must be"),
        ("halloc", WRITTEN, {"annotations": []}, "'annotations' must be an object with a list"),
        (
            *("halloc", WRITTEN),
            {"annotations": {"object": [{"obj": {"char_index": "3-5"}}]}},
            "'char_index' must be text such as '51:56', got '3-5'",
        ),
        (
            *("halloc", WRITTEN),
            {"annotations": {"object": [{"obj": {"char_index": "38:99"}}]}},
            "which has 40 characters: got '38:99'",
        ),
        ("halloc", WRITTEN, {"annotations": {"object": [{"obj": 3}]}}, "with 'char_index', got"),
        ("mhalubench", CLAIMS, {"image_path": 3}, "'image_path' must be a string, got 3"),
        ("mhalubench", CLAIMS, {"ref_claim_label": []}, "lists of the same length"),
        (
            *("mhalubench", CLAIMS),
            {"ref_claim_label": ["hallucination", "fine"]},
            "labeled 'hallucination' or 'non-hallucination', got 'There is a laptop'",
        ),
        ("mhalubench", CLAIM, {"label": None}, "'label' must be a string, got None"),
        ("faithscore", FACTS, {"id": "a"}, "'id' must be a number of an image of COCO, got 'a'"),
        ("faithscore", FACTS, {"stage 2": []}, "'stage 2' must be an object with a label"),
        ("faithscore", FACTS, {"stage 2": {"A dog.": True}}, "'A dog.' must be 0 or 1, got True"),
    ],
)
def test_broken_files_name_line_and_key(
    tmp_path: Path, format: str, good: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as told:
        read_labeled(file(tmp_path, good, {**good, **change}), format)
    assert told.value.line == 2
