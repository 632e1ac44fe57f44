"""What detectors said of each answer: kept, taken up again, and scored without a model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from lvlmsal import load
from lvlmsal.analysis.detector_mentions import DetectedMention
from lvlmsal.analysis.detector_passes import PASSES, PassStore, mark_of
from lvlmsal.analysis.detector_sets import ReadyDetectors
from lvlmsal.analysis.detectors import compared, score_passes
from lvlmsal.errors import DataError
from lvlmsal.testing.tiny import tiny_lvlm


def mentions(image: int) -> list[DetectedMention]:
    """A right mention and a wrong one; the features tell them apart on most images."""
    return [
        DetectedMention(
            *("m", "greedy", "chair", str(image), str(image), "dog", 3, 0, wrong),
            {"entropy": 0.1 * (image % 7) + wrong},
            {"ensemble": [0.3 * (image % 5) + wrong, float(image % 3)]},
            expected=image % 2 == 0,
        )
        for wrong in (False, True)
    ]


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    path = tmp_path / PASSES
    store = PassStore(path)
    for image in range(3):
        store.add(str(image), "mark", mentions(image))
    with path.open("a") as file:
        file.write('{"key": "3", "detec')  # the process was killed here
    again = PassStore(path)
    assert [again.of(str(image), "mark") for image in range(3)] == [mentions(i) for i in range(3)]
    assert again.of("3", "mark") is None
    assert again.of("0", "other detectors") is None
    again.add("3", "mark", mentions(3))
    assert len(PassStore(path).latest()) == 8


def test_scores_without_a_model_are_the_same(tmp_path: Path) -> None:
    store = PassStore(tmp_path / PASSES)
    every = [mentions(image) for image in range(20)]
    for image, found in enumerate(every):
        store.add(str(image), "mark", found)
    first = compared([one for found in every for one in found], [], tmp_path, draws=50)
    files = {name: (tmp_path / name).read_text() for name in first.files}
    second = score_passes(tmp_path, draws=50)
    assert second.cells == first.cells
    assert {name: (tmp_path / name).read_text() for name in second.files} == files
    (cell,) = second.cells.values()
    assert "ensemble (fitted)" in [entry.detector for entry in cell.detectors]


def test_what_an_asking_detector_cannot_judge_is_told_by_name(tmp_path: Path) -> None:
    every = [
        replace(one, scores={**one.scores, "self-question": math.nan if image < 2 else 0.5})
        for image in range(20)
        for one in mentions(image)
    ]
    notes = compared(every, [], tmp_path, draws=20).notes
    assert [note for note in notes if "self-question cannot judge 4 of 40" in note] == notes


def test_a_mixture_is_not_scored(tmp_path: Path) -> None:
    store = PassStore(tmp_path / PASSES)
    store.add("0", "one", mentions(0))
    store.add("1", "two", [replace(m, scores={"margin": 0.5}) for m in mentions(1)])
    with pytest.raises(DataError, match="judged by other detectors than the rest"):
        score_passes(tmp_path)
    # once all were judged by the new ones, the old line does not count
    store.add("0", "two", [replace(m, scores={"margin": 0.5}) for m in mentions(0)])
    assert len(PassStore(tmp_path / PASSES).latest()) == 4


def test_damage_and_absence_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lvlmsal detect compare CONFIG"):
        score_passes(tmp_path)
    path = tmp_path / PASSES
    path.write_text(json.dumps({"key": "0", "detectors": "a", "mentions": [{"model": "m"}]}) + "\n")
    with pytest.raises(DataError, match="a line is not whole"):
        PassStore(path)


def test_those_that_ask_are_added_to_named_ones() -> None:
    lvlm = load(tiny_lvlm("llava"))
    asking = {"self-question", "sampled-consistency", "semantic-entropy"}
    named = ["entropy", "self-question"]
    assert set(ReadyDetectors.of(["entropy"], lvlm).judges) == {"entropy"}
    assert list(ReadyDetectors.of(named, lvlm).judges) == named
    assert set(ReadyDetectors.of(named, lvlm, ask=True).judges) == {"entropy", *asking}
    usual = set(ReadyDetectors.of([], lvlm).judges)
    assert not usual & asking
    assert set(ReadyDetectors.of([], lvlm, ask=True).judges) == usual | asking


def test_other_options_and_detectors_have_another_mark() -> None:
    lvlm = load(tiny_lvlm("llava"))
    marks = {mark_of(ReadyDetectors.of(names, lvlm)) for names in (["entropy"], ["svar"], [])}
    assert len(marks) == 3
    assert mark_of(ReadyDetectors.of(["svar"], lvlm)) in marks
