"""What is found in an answer: spans, flags, what is left of the text, and its views."""

from __future__ import annotations

import html as escapes
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lvlmsal import load
from lvlmsal.detection.result import Detection, JudgedWord
from lvlmsal.detection.words import JudgedSpan, aggregated, judged_spans, sentences
from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.pocket import POCKET
from lvlmsal.pocket.scenes.scene import SHAPES
from lvlmsal.pocket.worlds import WORLDS
from lvlmsal.testing.tiny import tiny_lvlm

TEXT = "A dog & a cat. A <bus> is there."
TOKENS = [
    "A",
    " dog",
    " &",
    " a",
    " ca",
    "t",
    ".",
    " A",
    " <",
    "bus",
    ">",
    " is",
    " there.",
    "</s>",
]


def found(*risks: float | None, **others: Any) -> Detection:
    spans = judged_spans(TEXT, TOKENS, Vocabulary.coco())
    words = [
        JudgedWord(
            span.start, span.end, TEXT[span.start : span.end], span.name, span.tokens, risk,
            reasons={"entropy": 1.5},
        )
        for span, risk in zip(spans, risks, strict=True)
    ]  # fmt: skip
    made = Detection(
        prompt="What?", text=TEXT, own=True, token_ids=list(range(len(TOKENS))), tokens=TOKENS,
        words=words, detector="entropy", options={}, scaled=True,
        calibrated=False, aggregate="first", threshold=0.5,
    )  # fmt: skip
    return replace(made, **others).flag(threshold=0.5)


def test_words_are_slices_of_the_text() -> None:
    words = found(0.1, 0.5, 0.9).words
    assert [(word.text, word.name, word.tokens) for word in words] == [
        ("dog", "dog", (1, 2)),
        ("cat", "cat", (4, 6)),
        ("bus", "bus", (9, 10)),
    ]
    assert [word.flagged for word in words] == [False, True, True]


def test_risks_of_tokens_are_those_of_their_words() -> None:
    risks = found(0.1, 0.5, None).risks
    assert len(risks) == len(TOKENS)
    assert {at: risk for at, risk in enumerate(risks) if risk is not None} == {
        1: 0.1,
        4: 0.5,
        5: 0.5,
    }


def test_flags() -> None:
    one = found(0.1, 0.95, None)
    assert [word.flagged for word in one.flag(share=0.08).words] == [False, True, False]
    assert one.flag(share=0.08).threshold == pytest.approx(0.92)
    assert not any(word.flagged for word in one.flag(threshold=1).words)
    assert one.flag(threshold=0).redacted("_") == "A _ & a _. A <bus> is there."
    for wrong in ({}, {"threshold": 0.1, "share": 0.1}, {"threshold": 2}, {"share": -0.1}):
        with pytest.raises(ValueError, match="give one of threshold, share"):
            one.flag(**wrong)
    with pytest.raises(UnsupportedError, match="lvlmsal fit"):
        replace(one, scaled=False).flag(share=0.1)


def test_what_is_left() -> None:
    one = found(0.1, 0.2, 0.9)
    assert one.redacted() == "A dog & a cat. A <[?]> is there."
    assert one.kept() == "A dog & a cat."
    assert one.flag(threshold=0).kept() == ""
    assert one.flag(threshold=1).kept() == TEXT


@given(st.text(alphabet="ab.!? \n\u3002", max_size=30))
def test_sentences_tile_the_text(text: str) -> None:
    parts = sentences(text)
    assert "".join(text[start:end] for start, end in parts) == text
    assert all(start < end for start, end in parts)


@pytest.mark.parametrize(
    ("how", "wanted"),
    [("first", 0.5), ("mean", 0.4), ("max", 0.5), ("noisy-or", 1 - 0.5 * 0.7)],
)
def test_tokens_make_a_word(how: Any, wanted: float) -> None:
    risks = torch.tensor([0.9, 0.5, torch.nan, 0.3])
    assert aggregated(risks, JudgedSpan(0, 1, (1, 4), "", ""), how) == pytest.approx(wanted)
    assert aggregated(risks, JudgedSpan(0, 1, (2, 3), "", ""), how) is None


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of first, mean, max, noisy-or"):
        aggregated(torch.zeros(1), JudgedSpan(0, 1, (0, 1), "", ""), "last")  # type: ignore[arg-type]


def test_plain_values_and_frames() -> None:
    one = found(0.1, 0.5, None)
    plain = json.loads(json.dumps(one.to_dict()))
    assert plain["words"][1]["text"] == "cat"
    assert plain["tokens"][1] == {"text": " dog", "risk": 0.1}
    assert plain["own"] is True
    frame = one.to_pandas()
    assert list(frame.columns) == ["start", "end", "text", "name", "risk", "flagged", "entropy"]
    assert frame.flagged.tolist() == [False, True, False]


def test_the_view_is_the_answer_and_nothing_in_it_acts() -> None:
    page = found(0.1, 0.5, None, images=[Image.new("RGB", (9, 9))])._repr_html_()
    shown = escapes.unescape(re.sub(r"<[^>]*>", "", page))
    assert TEXT in shown
    assert "<bus>" not in page
    assert "<script" not in page
    assert page.count("lvlmsal-flagged") == 1
    assert 'title="risk 0.500; entropy +1.50"' in page
    assert "data:image/png" in page
    none = replace(found(0.1, 0.5, None), words=[], note="a note").html()
    assert "none of the words" in none
    assert "a note" in none


@pytest.fixture(scope="module")
def tiny() -> Lvlm:
    return load(tiny_lvlm("llava"))


def test_detection_of_ones_own_and_of_a_given_answer(tiny: Lvlm) -> None:
    image = Image.new("RGB", (30, 30), "red")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = tiny.detect(image, "What is it?", "a dog", detector="entropy", words=["dog"])
        own = tiny.detect(image, "What is it?", detector="margin", max_new_tokens=4)
    assert (given.own, own.own) == (False, True)
    assert given.text == "a dog"
    assert [word.name for word in given.words] == ["dog"]
    assert given.words[0].risk is not None
    assert own.token_ids == tiny.generate(image, "What is it?", max_new_tokens=4).token_ids
    with pytest.warns(UserWarning, match="lvlmsal fit") as told:
        tiny.detect(image, "What is it?", "a dog")
    assert told[0].filename == __file__
    with pytest.raises(ValueError, match="holds no token"):
        tiny.detect(image, "What is it?", [])


@pytest.mark.slow
def test_a_planted_word_stands_out() -> None:
    """One object of a right description is swapped for one that is not there."""
    lvlm = load(POCKET["pocket-llava"])
    world, hits, count = WORLDS["shapes"], 0, 0
    for index in range(6):
        scene = world.scene_number(index, seed=90210, shifted=False)
        image, _ = world.draw(scene)
        answer = lvlm.generate(image, "Please describe this image in detail.").text
        named = [name for name in scene.present if f" {name}" in answer]
        if len(named) < 2:
            continue
        false = next(name for name in SHAPES if name in scene.absent)
        planted = re.sub(rf" {named[1]}\b", f" {false}", answer, count=1)
        judged = lvlm.detect(
            image,
            "Please describe this image in detail.",
            planted,
            detector="log-probability",
            words=list(SHAPES),
        )
        riskiest = max(judged.words, key=lambda word: word.risk or 0)
        hits, count = hits + (riskiest.name == false), count + 1
    assert count >= 3
    assert hits >= count - 1


def test_files_of_ones_own_words(tiny: Lvlm, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("dog, dogs\n")
    image = Image.new("RGB", (30, 30), "red")
    judged = tiny.detect(image, "What is it?", "two dogs", detector="entropy", words=str(path))
    assert [(word.name, word.text) for word in judged.words] == [("dog", "dogs")]
