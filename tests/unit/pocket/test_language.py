"""Captions, questions and the tokenizer that spells them."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.pocket.scenes.language import (
    NUMBERS,
    ONE_WORD,
    PLACES,
    ask,
    capital,
    caption,
    exists_question,
    plural,
    with_article,
)
from lvlmsal.pocket.scenes.scene import COLORS, GRID, KITS, SHAPES, Scene, sample_scene
from lvlmsal.pocket.training.score import mentions
from lvlmsal.pocket.training.tokenizer import build_tokenizer, words

pytestmark = pytest.mark.slow

SEEDS = st.integers(min_value=0, max_value=10**9)
KINDS = ("exists", "where", "count", "color", "attribute", "total")
TOKENIZER = build_tokenizer(("<pad>", "<s>", "</s>", "<unk>"), pad="<pad>", bos="<s>", eos="</s>")


def some(seed: int) -> tuple[Scene, random.Random]:
    rng = random.Random(seed)
    return sample_scene(rng, shifted=rng.random() < 0.5), rng


@given(SEEDS)
def test_captions_name_every_object_and_no_other(seed: int) -> None:
    scene, rng = some(seed)
    text = caption(scene, rng)
    assert set(mentions(text)) == set(scene.present)
    for shape in scene.present:
        name = shape if len(scene.of(shape)) == 1 else plural(shape)
        assert f"{scene.of(shape)[0].color} {name}" in text


@given(SEEDS)
def test_captions_name_the_commonest_first(seed: int) -> None:
    scene, rng = some(seed)
    ranks = [shape for kit in KITS for shape in kit]
    introduced = list(dict.fromkeys(mentions(caption(scene, rng))))
    assert introduced == sorted(introduced, key=ranks.index)


@given(SEEDS)
def test_captions_close_with_the_number_of_objects(seed: int) -> None:
    scene, rng = some(seed)
    last = caption(scene, rng).rstrip(".").split(". ")[-1]
    assert f" {NUMBERS[len(scene.things)]} objects" in last


@given(SEEDS)
def test_relations_in_captions_are_true(seed: int) -> None:
    scene, rng = some(seed)
    before = None
    for sentence in caption(scene, rng).rstrip(".").split(". "):
        found = re.search(r"\b(to the left of|to the right of|above|below)\b", sentence.lower())
        said = mentions(sentence)
        if found is not None:
            thing = scene.of(next(shape for shape in said if shape != before))[0]
            other = scene.of(str(before))[0]
            row, column = divmod(thing.cell, GRID)
            other_row, other_column = divmod(other.cell, GRID)
            assert {
                "to the left of": column < other_column,
                "to the right of": column > other_column,
                "above": column == other_column and row < other_row,
                "below": column == other_column and row > other_row,
            }[found[1]], sentence
        if said:
            before = next((shape for shape in said if shape != before), before)


def test_captions_are_of_the_wanted_length_and_refer_back() -> None:
    texts = [caption(*some(seed)) for seed in range(300)]
    mean = sum(len(words(text)) for text in texts) / len(texts)
    assert 35 <= mean <= 60
    assert sum(" it " in text or " it." in text for text in texts) > 150


@given(SEEDS)
def test_captions_are_natural_text(seed: int) -> None:
    text = caption(*some(seed))
    assert not re.search(r" [.,?!]|  ", text)
    assert all(sentence[0].isupper() for sentence in text.split(". "))
    assert text.endswith(".")


@given(SEEDS)
def test_captions_survive_the_tokenizer(seed: int) -> None:
    text = caption(*some(seed))
    ids = TOKENIZER(text).input_ids
    assert TOKENIZER.unk_token_id not in ids
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER(TOKENIZER.decode(ids)).input_ids == ids


@given(SEEDS, st.sampled_from(KINDS))
def test_questions_survive_the_tokenizer(seed: int, kind: str) -> None:
    scene, rng = some(seed)
    turn = ask(scene, kind, rng)  # type: ignore[arg-type]
    for text in (turn.question, turn.answer):
        ids = TOKENIZER(text).input_ids
        assert TOKENIZER.unk_token_id not in ids
        # a blank before a line break is all that may differ
        assert TOKENIZER.decode(ids).replace(" \n ", "\n") == text
        assert TOKENIZER(TOKENIZER.decode(ids)).input_ids == ids


@given(st.text(alphabet="abc.?! \n", max_size=40))
def test_any_text_is_stable_under_the_tokenizer(text: str) -> None:
    ids = TOKENIZER(text).input_ids
    spelled = TOKENIZER.decode(ids).replace("<unk>", "zzz")
    assert TOKENIZER(spelled).input_ids == ids


def test_unknown_words_become_unk() -> None:
    ids = TOKENIZER("Is there a zebra?").input_ids
    assert TOKENIZER.convert_ids_to_tokens(ids) == ["Is", "there", "a", "<unk>", "?"]


def test_tokenizer_refuses_missing_control_tokens() -> None:
    with pytest.raises(ValueError, match="</s>"):
        build_tokenizer(("<pad>", "<s>", "<unk>"), pad="<pad>", bos="<s>", eos="</s>")


@given(SEEDS)
def test_yes_no_answers_are_true(seed: int) -> None:
    scene, rng = some(seed)
    turn = ask(scene, "exists", rng)
    shape = mentions(turn.question)[0]
    assert turn.answer == ("Yes." if shape in scene.present else "No.")
    turn = ask(scene, "attribute", rng)
    shape = mentions(turn.question)[0]
    asked = next(word for word in words(turn.question) if word in COLORS)
    assert turn.answer == ("Yes." if asked == scene.of(shape)[0].color else "No.")
    turn = ask(scene, "total", rng)
    number = next(NUMBERS.index(word) for word in words(turn.question) if word in NUMBERS)
    assert turn.answer == ("Yes." if number == len(scene.things) else "No.")


@given(SEEDS)
def test_open_answers_are_true(seed: int) -> None:
    scene, rng = some(seed)
    turn = ask(scene, "where", rng)
    places = [PLACES[thing.cell] for thing in scene.of(mentions(turn.question)[0])]
    assert turn.answer == capital(" and ".join(places)) + "."
    turn = ask(scene, "color", rng)
    shape = mentions(turn.question)[0]
    assert turn.answer == capital(scene.of(shape)[0].color) + "."
    turn = ask(scene, "count", rng)
    asked = mentions(turn.question)
    count = len(scene.of(asked[0])) if asked else len(scene.things)
    assert turn.answer == capital(NUMBERS[count]) + "."


def test_half_of_the_exists_questions_are_about_absent_shapes() -> None:
    scene, rng = some(0)
    turns = [ask(scene, "exists", rng) for _ in range(400)]
    assert 150 < sum(turn.answer == "Yes." for turn in turns) < 250
    assert any(ONE_WORD in turn.question for turn in turns)


def test_articles() -> None:
    assert {shape for shape in SHAPES if with_article(shape).startswith("an ")} == {
        "arrow",
        "umbrella",
        "hourglass",
    }
    assert exists_question("star") == "Is there a star in the image?"
