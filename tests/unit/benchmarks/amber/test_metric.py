"""AMBER counted by hand: descriptions, questions, rounding, and the ways of finding nouns."""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.benchmarks.amber import nouns as amber_nouns
from lvlmsal.benchmarks.amber.discriminative_counts import (
    AMBER_PARSERS,
    amber_discriminative_counts,
    amber_discriminative_figures,
    amber_parser,
)
from lvlmsal.benchmarks.amber.generative_counts import (
    amber_generative_counts,
    amber_generative_figures,
)
from lvlmsal.benchmarks.amber.metric import AmberDiscriminativeMetric, AmberGenerativeMetric
from lvlmsal.benchmarks.amber.nouns import ListedNouns, OfficialNouns
from lvlmsal.errors import ConfigError, DataError, LvlmsalError, UnsupportedError
from lvlmsal.registry import METRICS
from tests.unit.benchmarks.yesno_cases import RELATION, amber_target, relation_file


def counts(nouns: list[str], truth: list[str], hallu: list[str], **options: Any) -> list[float]:
    target = {"truth": truth, "hallu": hallu}
    rows = amber_generative_counts([nouns], [target], RELATION, **options)
    return [float(value) for value in rows[0]]


# responses, with error, mentions, errors, covered, truth, expected, hallu
@pytest.mark.parametrize(
    ("nouns", "truth", "hallu", "expected"),
    [
        # "man" stands next to person, and what stands next to a word is searched first: man stays
        # uncovered although it was said
        (["man"], ["man", "person"], [], (1, 0, 1, 0, 1, 2, 0, 0)),
        (["man", "boy"], ["man", "person"], [], (1, 0, 2, 0, 2, 2, 0, 0)),
        # every mention counts, whatever was covered before
        (["dog", "dog", "puppy"], ["dog"], [], (1, 0, 3, 0, 1, 1, 0, 0)),
        (["cat", "cat"], ["dog"], ["cat"], (1, 1, 2, 2, 0, 1, 1, 1)),
        # of a word that stands twice in the truth only the first is reached
        (["cat"], ["cat", "cat"], [], (1, 0, 1, 0, 1, 2, 0, 0)),
        # not in the relation: no mention
        (["unicorn", "Dog"], ["dog"], ["cat"], (1, 0, 0, 0, 0, 1, 0, 1)),
        # neither there nor expected
        (["tree"], ["dog"], ["cat"], (1, 1, 1, 1, 0, 1, 0, 1)),
        # in the truth and among what is expected: it is there
        (["dog"], ["dog"], ["dog"], (1, 0, 1, 0, 1, 1, 0, 1)),
        ([], [], [], (1, 0, 0, 0, 0, 0, 0, 0)),
    ],
)
def test_descriptions_counted_by_hand(
    nouns: list[str], truth: list[str], hallu: list[str], expected: tuple[float, ...]
) -> None:
    assert counts(nouns, truth, hallu) == list(expected)


def test_safe_words_stay_in_the_denominator_and_cover_nothing() -> None:
    assert counts(["dog", "cat"], ["dog"], [], safe_words={"dog"}) == [1, 1, 2, 1, 0, 1, 0, 0]


def test_near_synonyms_rescue_and_mark() -> None:
    def similar(first: str, second: str) -> bool:
        return {first, second} in ({"puppy", "cat"}, {"puppy", "screen"}) or first == second

    # puppy is like the truth cat, so it is fine and cat is covered; the expected TV is marked
    assert counts(["puppy"], ["cat"], ["TV"], similar=similar) == [1, 0, 1, 0, 1, 1, 1, 1]
    # it stands beside dog, and is like the screen that stands beside TV: both are marked
    assert counts(["puppy"], ["tree"], ["TV", "dog"], similar=similar) == [1, 1, 1, 1, 0, 1, 2, 2]
    # the first hit only: what is like cat comes behind the puppy itself
    assert counts(["puppy"], ["tree"], ["cat", "dog"], similar=similar) == [1, 1, 1, 1, 0, 1, 1, 2]


@given(st.lists(st.sampled_from(["man", "person", "dog", "puppy", "cat", "x"]), max_size=12))
def test_bounds_of_counts(nouns: list[str]) -> None:
    row = counts(nouns, ["man", "dog"], ["cat"])
    assert row[3] <= row[2] == len([noun for noun in nouns if noun != "x"])
    assert row[4] <= row[5]
    assert row[6] <= row[7]
    assert (row[3] > 0) == (row[1] == 1) == ("cat" in nouns)


def test_words_that_the_relation_lacks_and_targets_that_are_none() -> None:
    with pytest.raises(ValueError, match="no words 'owl'"):
        counts(["dog"], ["owl"], [])
    with pytest.raises(ValueError, match="'truth' and 'hallu'"):
        amber_generative_counts([[]], [["dog"]], RELATION)
    with pytest.raises(ValueError, match="0 lists of nouns for 1 targets"):
        amber_generative_counts([], [{"truth": [], "hallu": []}], RELATION)


def test_what_the_script_prints_of_few_descriptions() -> None:
    # one perfect description: the small number in the denominators shows
    figures = amber_generative_figures(torch.tensor([1.0, 0, 4, 0, 2, 3, 0, 2]))
    assert figures["hal"].item() == 0
    assert figures["official/hal"].item() == 0.1
    assert figures["official/cover"].item() == 66.6  # 2 / 3.001
    assert figures["official/chair"].item() == 0
    nothing = amber_generative_figures(torch.zeros(8))
    assert math.isnan(nothing["official/hal"])
    unspoken = amber_generative_figures(torch.tensor([2.0, 0, 0, 0, 0, 3, 0, 0]))
    assert math.isnan(unspoken["chair"])
    assert unspoken["official/chair"].item() == 0


# ---- finding nouns


@pytest.mark.parametrize(
    ("text", "nouns"),
    [
        ("", []),
        ("Dogs and a DOG; dog's bowl. The dog-like cat!", ["dog", "dog", "dog", "dog", "cat"]),
        ("Two women, three men and many people; a boy's puppies", "woman man people boy puppy"),
        ("Leaves lie on a tv", "leave TV"),
        ("It can be seen. One can see a can, two cans, the can of dogs", "can can can dog"),
        ("They leave the forest", "forest"),
        ("caterpillar catalog doggy", []),
        ("un chien \u2014 собака \U0001f415 dog\u2019s", "dog"),
    ],
)
def test_listed_words(text: str, nouns: str | list[str]) -> None:
    expected = nouns.split() if isinstance(nouns, str) else nouns
    assert ListedNouns.of(RELATION).nouns(text) == expected


def test_listed_words_of_several_parts_and_odd_plurals() -> None:
    words = ["air-conditioning", "knife", "shelf", "tomato", "goose", "hot", "watch", "child"]
    listed = ListedNouns.of({word: [] for word in words})
    text = "Air-conditioning, knives, shelves, tomatoes, geese. A hot dog and hot air conditioning"
    assert listed.nouns(text) == [*words[:5], "air-conditioning"]
    assert listed.nouns("Children watch his watch and their watches") == ["child", "watch", "watch"]


def test_the_official_way_is_refused_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str, package: str | None = None) -> object:
        return None if name in ("spacy", "en_core_web_lg") else object()

    def lookup(*_: object, **__: object) -> None:
        raise LookupError("no data")

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr("nltk.word_tokenize", lookup)
    monkeypatch.setattr("nltk.pos_tag", lambda words: [(word, "NN") for word in words])
    monkeypatch.setattr("nltk.stem.WordNetLemmatizer.lemmatize", lookup)
    assert amber_nouns.missing_official() == [
        *("spacy", "en_core_web_lg", "NLTK's punkt_tab", "NLTK's wordnet")
    ]
    with pytest.raises(UnsupportedError, match=r"(?s)wordnet\. Type: pip .*'words' .* needs none"):
        AmberGenerativeMetric(relation=relation_file())
    with pytest.raises(ConfigError, match=r"variant: words"):
        METRICS.build("amber-generative", relation=relation_file())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert amber_nouns.missing_official() == ["nltk", "spacy", "en_core_web_lg"]


def test_the_official_way_with_everything_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for NLTK's data and for spaCy: what is tested is how they are put together."""
    tags = {"Dogs": "NNS", "dogs": "NNS", "run": "VBP", "puppy": "NN", "TV": "NNP"}
    cosines = {("puppy", "cat"): 0.81, ("puppy", "tree"): 0.8}

    class Document(str):
        def similarity(self, other: str) -> float:
            return cosines.get((str(self), str(other)), float(self == other))

    spacy = types.ModuleType("spacy")
    monkeypatch.setattr(spacy, "load", lambda name: Document, raising=False)
    monkeypatch.setitem(sys.modules, "spacy", spacy)
    monkeypatch.setattr(amber_nouns, "missing_official", list)
    monkeypatch.setattr("nltk.word_tokenize", str.split)
    monkeypatch.setattr("nltk.pos_tag", lambda words: [(w, tags.get(w, "DT")) for w in words])
    monkeypatch.setattr(
        "nltk.stem.WordNetLemmatizer.lemmatize", lambda self, w: w.removesuffix("s")
    )
    for cached in (amber_nouns._similarity, amber_nouns._document, amber_nouns._spacy_model):
        cached.cache_clear()
    official = OfficialNouns()
    # the case is kept, so a capital hides a word from the list; verbs are left out
    assert official.nouns("Dogs run the TV dogs") == ["Dog", "TV", "dog"]
    assert official.similar("puppy", "cat")
    assert not official.similar("puppy", "tree")  # exactly 0.8 is not enough
    metric = AmberGenerativeMetric(relation=relation_file())
    target = {"truth": ["cat"], "hallu": ["TV"]}
    figures = metric.score(["Dogs run the TV puppy"], [target])
    assert figures["n_mentions"].item() == 2
    assert (figures["chair"].item(), figures["cover"].item(), figures["cog"].item()) == (0.5, 1, 1)
    for cached in (amber_nouns._similarity, amber_nouns._document, amber_nouns._spacy_model):
        cached.cache_clear()


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'official' or 'words', got 'nouns'"):
        AmberGenerativeMetric(relation=relation_file(), variant="nouns")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no such file"):
        AmberGenerativeMetric(relation=str(tmp_path / "none.json"), variant="words")
    for text, words in [
        ("[]", "an object of lists"),
        ("{", "JSON"),
        ('{"a": "b"}', "listed for 'a'"),
    ]:
        (tmp_path / "relation.json").write_text(text)
        with pytest.raises(DataError, match=words):
            AmberGenerativeMetric(relation=str(tmp_path / "relation.json"), variant="words")
    with pytest.raises(LvlmsalError, match="Did you mean 'official'"):
        AmberDiscriminativeMetric(parser="offical")


# ---- questions

# answer: official, lmms-eval, vlmevalkit, strict
VERDICTS: list[tuple[str, tuple[str | None, ...]]] = [
    ("Yes", ("yes",) * 4),
    ("No", ("no",) * 4),
    ("yes", (None, "yes", "yes", "yes")),
    ("No.", (None, "no", "no", "no")),
    ("NO", (None, "no", "no", "no")),
    (" No", (None, "no", "no", "no")),
    ("No\n", (None, "no", "no", "no")),
    ("", (None, None, None, None)),
    ("No, there is not. Yes?", (None, "yes", None, "no")),
    ("I know", (None, "no", None, None)),
    ("There isn't", (None, None, None, None)),
    ("Yesterday", (None, "yes", None, None)),
    ("Nein", (None, None, None, None)),
]


@pytest.mark.parametrize(("answer", "verdicts"), VERDICTS)
def test_rules_on_answers_that_try_them(answer: str, verdicts: tuple[str | None, ...]) -> None:
    names = ("official", "lmms-eval", "vlmevalkit", "strict")
    assert tuple(amber_parser(name)(answer) for name in names) == verdicts
    assert set(names) == set(AMBER_PARSERS)


def questions(dimension: str, pairs: list[tuple[str, str, int]]) -> torch.Tensor:
    answers = [answer for answer, _, times in pairs for _ in range(times)]
    targets = [amber_target(dimension, label) for _, label, times in pairs for _ in range(times)]
    return amber_discriminative_counts(answers, targets).sum(0)


def test_questions_counted_by_hand() -> None:
    # 17 questions, 14 right; no said 9 times, 8 of them rightly, of 10 that are to be answered no
    state = [
        ("No", "no", 8),
        ("Yes", "no", 1),
        ("no", "no", 1),
        ("No", "yes", 1),
        ("Yes", "yes", 6),
    ]
    figures = amber_discriminative_figures(questions("state", state))
    assert figures["accuracy"].item() == pytest.approx(14 / 17)
    assert figures["precision"].item() == pytest.approx(8 / 9)
    assert figures["recall"].item() == pytest.approx(8 / 10)
    assert figures["f1"].item() == pytest.approx(16 / 19)
    assert figures["unparsed"].item() == 1
    assert figures["official/accuracy"].item() == 82.3  # 14 / 17.001; 14 / 17 would be 82.4
    assert figures["official/precision"].item() == 88.9
    assert figures["official/recall"].item() == 80.0
    # 2 * 0.889 * 0.8 / (0.889 + 0.8 + 0.0001) = 0.84210
    assert figures["official/f1"].item() == 84.2
    assert figures["accuracy/attribute"].item() == figures["accuracy/state"].item()
    assert math.isnan(figures["f1/relation"])
    assert math.isnan(figures["official/f1/relation"])


def test_existence_has_another_small_number_and_attributes_add_theirs_up() -> None:
    right = [("No", "no", 1)]
    existence = amber_discriminative_figures(questions("existence", right))
    # P and R print as 99.9: 2 * 0.999 ** 2 / (1.998 + 0.001) against 0.0001 over all
    assert existence["official/f1/existence"].item() == round(1.996002 / 1.999 * 100, 1) == 99.9
    assert existence["official/f1"].item() == 99.9
    three = sum(questions(name, right) for name in ("state", "number", "action"))
    figures = amber_discriminative_figures(three)
    # 3 / 3.003 = 0.99900; one counter over all gives 3 / 3.001 = 0.99967
    assert figures["official/f1/attribute"].item() == 99.9
    assert figures["official/recall"].item() == 100.0
    assert figures["f1/attribute"].item() == figures["f1"].item() == 1


def test_never_saying_no_prints_zero_and_is_undefined() -> None:
    figures = amber_discriminative_figures(questions("relation", [("Yes", "no", 2)]))
    assert math.isnan(figures["precision"])
    assert figures["official/precision"].item() == 0
    assert figures["f1"].item() == 0
    assert figures["official/f1"].item() == 0


def test_failed_questions_are_wrong() -> None:
    metric = AmberDiscriminativeMetric()
    targets = [amber_target("state", "no"), amber_target("state", "yes")]
    figures = metric.figures(metric.failed_rows(targets).sum(0))
    assert (figures["accuracy"].item(), figures["recall"].item()) == (0, 0)
    assert (figures["n"].item(), figures["unparsed"].item()) == (2, 0)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no", "'dimension' and 'label'"),
        ({"label": "no"}, "'dimension' and 'label'"),
        (amber_target("attribute", "no"), "must be one of existence"),
        (amber_target("state", "No"), "'label' yes or no"),
    ],
)
def test_targets_that_are_none(target: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        amber_discriminative_counts(["No"], [target])
