"""Labels of tokens: the mentions that CHAIR counts, at the tokens that spell them."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.analysis.labels import (
    chair_vocabulary,
    object_labels,
    object_mentions,
)
from lvlmsal.benchmarks.chair.benchmark import Chair
from lvlmsal.benchmarks.chair.counts import chair_counts
from lvlmsal.benchmarks.pope.benchmark import Pope
from lvlmsal.detection.words import token_intervals
from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.text.vocabulary import Vocabulary

WORDS = ["a", "dog", "dogs", "hot", "hot dog", "red", "car", "cars,", "cat.", "traffic lights", "é"]


def answer(*tokens: str, text: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(tokens=list(tokens), text="".join(tokens) if text is None else text)


def test_a_caption_by_hand() -> None:
    tokens = ["Two", " fire", "-", "hyd", "rants", ",", " a", " dog", "'s", " tail", ".", "<|end|>"]
    caption = answer(*tokens, text="Two fire-hydrants, a dog's tail.")
    found = object_mentions(caption, {"fire hydrant"}, Vocabulary.coco())
    assert [(m.name, m.start, m.stop, m.hallucinated) for m in found] == [
        ("fire hydrant", 1, 5, False),
        ("dog", 7, 8, True),
    ]
    labels = object_labels(caption, {"fire hydrant"}, Vocabulary.coco())
    assert labels == [None, False, False, False, False, None, None, True, *[None] * 4]


def test_a_token_that_holds_two_names_is_wrong_if_one_is() -> None:
    both = answer("A", " dog,cat")
    assert object_labels(both, {"dog"}, Vocabulary.coco()) == [None, True]
    assert object_labels(both, {"dog", "cat"}, Vocabulary.coco()) == [None, False]
    assert [m.start for m in object_mentions(both, {"dog"}, Vocabulary.coco())] == [1, 1]


def test_special_tokens_inside_and_bytes_of_one_character() -> None:
    # the character é comes in two tokens; a special token stands in the middle
    found = token_intervals("un éléphant", ["un", " ", "", "é", "<pad>", "l", "éphant", "</s>"])
    assert found == [(0, 2), (2, 3), (3, 4), (3, 4), (4, 4), (4, 5), (5, 11), (11, 11)]
    assert token_intervals("", ["</s>"]) == [(0, 0)]
    assert token_intervals("a", ["a", ""]) == [(0, 1), (1, 1)]
    words = Vocabulary(("éa",), {"éa": "éa"}, "none", "test")
    mention = object_mentions(answer("", "é", "a"), [], words)[0]
    assert (mention.start, mention.stop) == (0, 3)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"do not spell the text: none goes on with ' dog'"):
        object_labels(answer("A", " cat", text="A dog"), [], Vocabulary.coco())
    with pytest.raises(TypeError, match="collection of names, got one text: 'dog'"):
        object_labels(answer("A", " dog"), "dog", Vocabulary.coco())


@given(st.lists(st.sampled_from(WORDS), max_size=12), st.integers(0, 10**6))
def test_mentions_are_those_that_chair_counts_however_the_text_is_cut(
    words: list[str], seed: int
) -> None:
    text, chooser, coco = " ".join(words), random.Random(seed), Vocabulary.coco()
    cuts = sorted({0, len(text), *(chooser.randint(0, len(text)) for _ in range(10))})
    tokens = [text[start:end] for start, end in itertools.pairwise(cuts)]
    truth = {"dog", "traffic light"}
    caption = answer(*tokens, "</s>", text=text)
    mentions = object_mentions(caption, truth, coco)
    counts = chair_counts([text], [truth], coco)[0]
    assert len(mentions) == counts[2]
    assert sum(m.hallucinated for m in mentions) == counts[3]
    labels = object_labels(caption, truth, coco)
    assert len(labels) == len(caption.tokens)
    for mention in mentions:
        spelled = "".join(caption.tokens[mention.start : mention.stop]).lower()
        # no token of it could be spared at either end
        for shorter in (1, 0), (0, 1):
            part = caption.tokens[mention.start + shorter[0] : mention.stop - shorter[1]]
            rest = "".join(part).lower()
            assert spelled.count(mention.words) > rest.count(mention.words)
        assert labels[mention.start] is not None
    covered = {i for m in mentions for i in range(m.start, m.stop)}
    assert {i for i, label in enumerate(labels) if label is not None} == covered


def test_only_descriptions_have_labels() -> None:
    assert chair_vocabulary(Chair(root="anywhere", vocabulary="coco")).variant == (
        Vocabulary.coco().variant
    )
    with pytest.raises(UnsupportedError, match="pope/random has no objects"):
        chair_vocabulary(Pope(root="anywhere"))
