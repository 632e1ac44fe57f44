"""The word rule of OPERA and PAI, with tagger and lemmatizer passed in: nltk's need a download."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest

from lvlmsal.benchmarks.chair.scorer import ChairScorer
from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.text import lemmas as module
from lvlmsal.metrics.text.lemmas import Tools, lemmas, nltk_tools
from lvlmsal.metrics.text.vocabulary import Vocabulary

pytestmark = pytest.mark.slow  # the original rule imports inflect, which takes seconds

TAGS = {"skiing": "VBG", "dogs": "NNS", "better": "RBR", "red": "JJ", "and": "CC", "seated": "VBN"}
FORMS = {
    ("skiing", "v"): "ski",
    ("dogs", "n"): "dog",
    ("better", "r"): "well",
    ("and", "n"): "AND",
    ("seated", "v"): "seat",
    ("buses", "n"): "bus",
    ("lights", "n"): "light",
}


def fake() -> Tools:
    """Tags and forms from the tables above; nouns and unchanged words otherwise."""

    def tag(words: Sequence[str]) -> list[str]:
        return [TAGS.get(word, "NN") for word in words]

    return Tools(tag, lambda word, part: FORMS.get((word, part), word))


def test_a_word_is_looked_up_as_what_it_was_tagged() -> None:
    words = ["dogs", "skiing", "better", "red", "and"]
    assert lemmas(words, fake()) == ["dog", "ski", "well", "red", "AND"]
    assert lemmas([], fake()) == []


def test_the_whole_text_is_tagged_at_once() -> None:
    seen: list[list[str]] = []

    def tag(words: Sequence[str]) -> list[str]:
        seen.append(list(words))
        return ["NN"] * len(words)

    lemmas(["a", "dog", ".", "it", "runs"], Tools(tag, lambda word, part: word))
    assert seen == [["a", "dog", ".", "it", "runs"]]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vocabulary:
    path = tmp_path / "synonyms.txt"
    path.write_text("skis, ski\nchair, seat\nbus\ntraffic light, street light\ndog\ntoilet\n")
    monkeypatch.setattr(module, "nltk_tools", fake)
    return Vocabulary.read(path, "wordnet")


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        # unlike in the original rule, bus is found, and verbs fire
        ("A bus. Two buses.", ["bus", "bus"]),
        ("People seated, skiing", ["chair", "skis"]),
        # pairs are merged, and a seat goes where a toilet is, after the lemmas
        ("Street lights and dogs", ["traffic light", "dog"]),
        ("seated on a toilet", ["toilet"]),
        ("", []),
    ],
)
def test_what_captions_mention(words: Vocabulary, caption: str, names: list[str]) -> None:
    assert [name for name, _ in words.objects(caption)] == names


def test_the_variant_and_the_places(words: Vocabulary) -> None:
    assert "read as OPERA and PAI do, with nltk " in words.variant
    assert words.scan("The Buses").places == ((4, 9),)
    assert words.canonical("seat") == "chair"


def _has_data() -> bool:
    try:
        nltk_tools()
    except UnsupportedError:
        return False
    return True


@pytest.mark.skipif(_has_data(), reason="nltk's data is installed")
def test_without_data_it_says_what_to_type(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("dog\n")
    command = "python -m nltk.downloader averaged_perceptron_tagger_eng wordnet"
    with pytest.raises(UnsupportedError, match=command):
        Vocabulary.read(path, "wordnet")
    scorer = ChairScorer(
        annotations=tmp_path, captions=path, vocabulary=path, singularizer="wordnet"
    )
    with pytest.raises(UnsupportedError, match=command):
        scorer.score()


@pytest.mark.skipif(not _has_data(), reason="needs nltk's data, which pip does not install")
def test_the_tools_of_nltk(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("person, man, woman\nskis, ski\nbus\nvase\ntie\n")
    read = Vocabulary.read(path, "wordnet")
    found = {text: [name for name, _ in read.objects(text)] for text in ("a bus", "men", "women")}
    assert found == {"a bus": ["bus"], "men": [], "women": ["person"]}


def test_without_nltk_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    nltk_tools.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"pip install 'lvlmsal\[chair\]'"):
        nltk_tools()
