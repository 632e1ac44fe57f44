"""Labels of one's own: spans are characters of the answer, and nothing else is labeled."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lvlmsal import load
from lvlmsal.analysis.labeled_answers import compare_on_labels, read_labeled
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.testing.tiny import tiny_lvlm

LINE: dict[str, Any] = {
    "image": "a.png",
    "prompt": "What is it?",
    "answer": "a dog and a cat",
    "labels": [{"start": 12, "end": 15, "wrong": True}, {"start": 2, "end": 5, "wrong": False}],
}


@pytest.fixture(scope="module")
def lvlm() -> Lvlm:
    return load(tiny_lvlm("llava", layers=4))


def file(folder: Path, *lines: dict[str, Any]) -> Path:
    Image.new("RGB", (20, 20), "red").save(folder / "a.png")
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


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


def test_own_and_given_answers_are_scored_apart(lvlm: Lvlm, tmp_path: Path) -> None:
    lines = [LINE, {**LINE, "own": True, "answer": "a dog and a dog", "group": "b"}]
    path = file(tmp_path, *lines)
    names = ["log-probability", "entropy", "ensemble"]
    found = compare_on_labels(
        path, lvlm, model="tiny", out=tmp_path / "out", detectors=names, draws=20
    )
    assert set(found.cells) == {
        ("tiny", "given answers", "labels.jsonl"),
        ("tiny", "own answers", "labels.jsonl"),
    }
    with (tmp_path / "out" / "mentions.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    # unlabeled words have no row; a word that was labeled before counts as named before
    assert [(row["object"], row["wrong"], row["earlier"]) for row in rows] == [
        ("dog", "0", "0"),
        ("cat", "1", "0"),
        ("dog", "0", "0"),
        ("dog", "1", "1"),
    ]
    assert any("nothing is fitted on labels" in note for note in found.notes)
    # the number is that of the token at which the word begins
    judged = lvlm.detect(
        tmp_path / "a.png", LINE["prompt"], LINE["answer"], detector="entropy", words=["cat"]
    )
    assert float(rows[1]["entropy"]) == pytest.approx(judged.words[0].risk, abs=1e-6)


def test_a_folder_that_cannot_be_made(lvlm: Lvlm, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        compare_on_labels(file(tmp_path, LINE), lvlm, model="tiny", out=tmp_path / "taken" / "out")
