"""Detectors on labeled answers: own and given ones apart, words by their first token."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lvlmsal import load
from lvlmsal.analysis.label_files.answers import Label, LabeledAnswer
from lvlmsal.analysis.label_files.comparing import compare_on_labels, fit_labeled
from lvlmsal.analysis.label_files.formats import read_labeled
from lvlmsal.errors import ConfigError, UnsupportedError
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


def test_own_and_given_answers_are_scored_apart(lvlm: Lvlm, tmp_path: Path) -> None:
    lines = [LINE, {**LINE, "own": True, "answer": "a dog and a dog", "group": "b"}]
    path = file(tmp_path, *lines)
    names = ["log-probability", "entropy", "ensemble"]
    found = compare_on_labels(
        read_labeled(path),
        lvlm,
        model="tiny",
        source=path.name,
        out=tmp_path / "out",
        detectors=names,
        draws=20,
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
        compare_on_labels([], lvlm, model="tiny", source="x", out=tmp_path / "taken" / "out")


def answers(folder: Path, *, own: bool) -> list[LabeledAnswer]:
    """Twelve answers about an image each; in half of them the last word is wrong."""
    found = []
    for at in range(12):
        path = folder / f"{at}.png"
        Image.new("RGB", (20, 20), (20 * at, 0, 0)).save(path)
        labels = (Label(2, 5, wrong=False), Label(12, 15, wrong=at % 2 == 0))
        answer = LINE["answer"]
        found.append(LabeledAnswer(str(at), (path,), "What?", answer, labels, path.name, own))
    return found


def test_a_segment_is_the_mean_of_its_tokens(lvlm: Lvlm, tmp_path: Path) -> None:
    (first, *_) = answers(tmp_path, own=False)
    spans = (Label(0, 5, wrong=True),)
    one, whole = (replace(first, labels=spans, aggregate=how) for how in ("first", "mean"))
    names = ["entropy"]
    judged = [
        compare_on_labels(
            [answer], lvlm, model="tiny", source="x", out=tmp_path, detectors=names, draws=5
        ).mentions[0]
        for answer in (one, whole)
    ]
    ids = lvlm.adapter.tokenizer(first.answer, add_special_tokens=False)["input_ids"]
    (risks,) = (
        lvlm.detect(first.images[0], first.prompt, ids, detector="entropy", words=[first.answer])
        .to_dict()["words"][0]["reasons"]
        .values(),
    )
    assert judged[0].scores["entropy"] == pytest.approx(next(iter(risks)), abs=1e-6)
    assert judged[1].scores["entropy"] != judged[0].scores["entropy"]


def test_a_fit_says_whose_answers_it_was_made_from(lvlm: Lvlm, tmp_path: Path) -> None:
    given = answers(tmp_path, own=False)
    found = fit_labeled(given, lvlm, model="tiny", source="labels.jsonl")
    assert found.source == "labels.jsonl, given answers"
    (entry,) = [one for one in found.entries if one.detector == "ensemble"]
    assert (entry.mentions, entry.answers) == (24, 12)
    # a probe has a feature for each unit of the model
    (probe,) = [one for one in found.entries if one.detector == "hidden-state-probe"]
    assert len(probe.mean) == lvlm.adapter.text_config.hidden_size
    found.save(tmp_path / "tiny.json")
    judged = lvlm.detect(
        *(given[0].images[0], "What?", "a cat"),
        detector={"name": "ensemble", "scaling": str(tmp_path / "tiny.json")},
    )
    assert [word.text for word in judged.words] == ["cat"]
    with pytest.raises(ConfigError, match="make a file of each"):
        fit_labeled(given + answers(tmp_path, own=True), lvlm, model="tiny", source="labels.jsonl")
    with pytest.raises(ConfigError, match="entropy needs no labels"):
        fit_labeled(given, lvlm, model="tiny", source="x", detectors=["entropy"])


def test_nobody_is_asked_of_spans_without_a_name(lvlm: Lvlm, tmp_path: Path) -> None:
    names = ["entropy", "sampled-consistency"]
    with pytest.raises(UnsupportedError, match="sampled-consistency asks the model more"):
        compare_on_labels([], lvlm, model="tiny", source="x", out=tmp_path / "out", detectors=names)
    assert not (tmp_path / "out").exists()
