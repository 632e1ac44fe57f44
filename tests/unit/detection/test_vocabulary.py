"""Judged words, token by token: worked out by hand for tokenizers of words, pieces and bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lvlmsal.detection.vocabulary import JudgedWords, judged_vocabulary
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.pocket.scenes.world import vocabulary
from lvlmsal.pocket.training.tokenizer import build_bpe_tokenizer, build_tokenizer

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
ROLES = {"pad": "<pad>", "bos": "<s>", "eos": "</s>"}


def pieces(*merged: str) -> Any:
    """A byte-level tokenizer that writes these words in one piece and all others letter by letter;
    a blank belongs to what follows."""
    entries = [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges: list[tuple[str, str]] = []
    for word in merged:
        text = word.replace(" ", "Ġ")
        for end in range(2, len(text) + 1):
            if text[:end] not in entries:
                entries.append(text[:end])
                merges.append((text[: end - 1], text[end - 1]))
    vocab = {entry: number for number, entry in enumerate(entries)}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=backend)


def read(judged: JudgedWords, tokenizer: Any, text: str) -> list[tuple[str, bool, str]]:
    """Piece, whether it begins a word, and what is complete with it, of all that say something."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    found = zip(ids, judged.read(ids), strict=True)
    return [(tokenizer.decode([i]), f.begins, f.name) for i, f in found if f.begins or f.name]


def test_words_of_one_token() -> None:
    tokenizer = build_tokenizer(SPECIALS, **ROLES)
    judged = JudgedWords(tokenizer, judged_vocabulary(["star", "stars", "moon", "giraffe"]))
    # the tokenizer of that world does not know giraffes
    assert judged.tokens == tuple(sorted(tokenizer("star stars moon")["input_ids"]))
    said = read(judged, tokenizer, "Two red stars are at the top. Below it there is a moon.")
    assert said == [("stars", True, "stars"), ("moon", True, "moon")]


def test_a_file_names_one_object_by_several_words(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_text(vocabulary())
    tokenizer = build_tokenizer(SPECIALS, **ROLES)
    judged = JudgedWords(tokenizer, judged_vocabulary(str(path)))
    assert read(judged, tokenizer, "two stars")[0] == ("stars", True, "star")
    assert len(judged.tokens) == 32


def test_words_of_several_tokens_begin_and_are_complete() -> None:
    tokenizer = pieces(" skate", " dog", " board")
    judged = JudgedWords(tokenizer, judged_vocabulary(["skateboard", "dog"]))
    assert read(judged, tokenizer, "a dog, a skateboard") == [
        (" dog", True, "dog"),
        (" skate", True, ""),
        ("d", False, "skateboard"),
    ]
    # what turns out to be another word is never complete
    assert read(judged, tokenizer, "a skater") == [(" skate", True, "")]
    # a piece of a word that goes on is no word of its own
    assert read(judged, tokenizer, "a bulldog") == []


def test_short_and_common_beginnings_are_judged_when_complete() -> None:
    tokenizer = pieces(" for", " mo", " mug")
    judged = JudgedWords(tokenizer, judged_vocabulary(["fork", "moon", "mug"]))
    assert read(judged, tokenizer, "a fork for a moon, a mug") == [
        ("k", False, "fork"),
        ("n", False, "moon"),
        (" mug", True, "mug"),
    ]


def test_of_phrases_an_objects_own_name_is_judged_at_its_first_word() -> None:
    tokenizer = pieces(" traffic", " light", " lights", " brown", " bear")
    judged = JudgedWords(tokenizer, judged_vocabulary("coco"))
    assert read(judged, tokenizer, "a brown bear at two traffic lights") == [
        (" bear", False, "bear"),  # "brown bear" is complete; the color before it was not judged
        (" traffic", True, ""),
        (" lights", False, "traffic light"),
    ]
    assert read(judged, tokenizer, "a bear") == [(" bear", True, "bear")]


def test_a_word_at_the_start_of_a_line_or_with_a_capital() -> None:
    tokenizer = pieces(" dog", "dog", "Dog")
    judged = JudgedWords(tokenizer, judged_vocabulary(["dog"]))
    assert judged.tokens == tuple(tokenizer(" dog")["input_ids"])
    assert read(judged, tokenizer, 'Dog. "dog"\ndog') == [
        ("Dog", True, "dog"),
        ("dog", True, "dog"),
        ("dog", True, "dog"),
    ]


def test_a_word_is_over_where_another_begins_and_no_longer_one_is_written() -> None:
    tokenizer = pieces(" dog", "s", " hot", ".", " car", "pet", " is")
    judged = JudgedWords(tokenizer, judged_vocabulary(["dog", "dogs", "hot", "hot dog", "car"]))

    def is_over(text: str, behind: str) -> bool:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        found = judged.read(ids)[-1]
        assert found.name
        return judged.ends(
            found.writing, tokenizer(behind, add_special_tokens=False)["input_ids"][0]
        )

    assert is_over(" dog", " is")
    assert is_over(" dog", ".")
    assert is_over(" dog", " dog")
    assert not is_over(" dog", "s")  # dogs
    assert is_over(" dogs", " is")
    assert not is_over(" hot", " dog")  # a hot dog
    assert not is_over(" car", "pet")  # another word


def test_errors_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no judged words were given"):
        judged_vocabulary([])
    with pytest.raises(DataError, match=r"none\.txt"):
        judged_vocabulary(str(tmp_path / "none.txt"))
    with pytest.raises(ConfigError, match="can write none of the 1 judged words"):
        JudgedWords(build_tokenizer(SPECIALS, **ROLES), judged_vocabulary(["giraffe"]))


TOKENIZER = build_bpe_tokenizer(SPECIALS, **ROLES)
COCO = judged_vocabulary("coco")
JUDGED = JudgedWords(TOKENIZER, COCO)
WORDS = [
    "a",
    "dog",
    "bear",
    "wine glass",
    "forks",
    "fork lift",
    "tree",
    "cat",
    "person",
    "umbrella",
]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(WORDS), max_size=6))
def test_the_mentions_of_a_text_are_complete_at_their_last_token(words: list[str]) -> None:
    """As CHAIR's own reading of the text finds them, which knows nothing of tokens."""
    text = " and a ".join(["It", *words]) + "."
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    found, length = {}, 0
    for token, one in zip(ids, JUDGED.read(ids), strict=True):
        length += len(TOKENIZER.decode([token]))
        if one.name:
            found[length] = one.name
    scanned = COCO.scan(text)
    for (name, _), (_, end) in zip(scanned.objects, scanned.places, strict=True):
        assert found[end] == name
