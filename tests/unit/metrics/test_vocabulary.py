"""The word rule of CHAIR: the original script's, and the plain one of lists that hold all forms."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.metrics.text import words as words_module
from lvlmsal.metrics.text.double_words import ORIGINAL_DOUBLE_WORDS
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.metrics.text.words import (
    original_tokens,
    original_words,
    plain_tokens,
    plain_words,
    singular,
)

# Invented, in the format of the original file with its pitfalls: a second blank, a capital, the
# names of two words.
pytestmark = pytest.mark.slow  # the original rule imports inflect, which takes seconds

SYNONYMS = """\
person, man, woman, skier
bird, duck
dog, puppy
elephant
tie
toilet
chair, seat
traffic light, street light, stop light
hot dog
wine glass
motorcycle, moped,  motor bike
cell phone, phone, iPhone
train, jet
bus, minibus
orange
dining table, table
sports ball, ball
vase
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    path = tmp_path_factory.mktemp("words") / "synonyms.txt"
    path.write_text(SYNONYMS)
    return Vocabulary.read(path)


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("Two men and a woman with their puppies.", ["person", "person", "dog"]),
        # a pair is one word: no dog in a hot dog, and two of them are two mentions
        ("Hot dogs, a hot dog.", ["hot dog", "hot dog"]),
        # 'passenger train' and the pairs with baby and adult
        ("An adult elephant, a baby bird and a passenger train", ["elephant", "bird", "train"]),
        ("a man in a bow tie", ["person", "tie"]),
        # the singularizer spoils bus, not buses
        ("A bus. Two buses.", ["bus"]),
        ("two minibuses", ["bus"]),
        # greedy from the left: 'street light' is taken, 'light' alone names nothing
        ("street lights and stop lights", ["traffic light", "traffic light"]),
        ("the traffic light pole", ["traffic light"]),
        # every seat goes where a toilet is, even one far away
        ("The toilet is white. A man has a seat.", ["toilet", "person"]),
        ("A man takes a seat.", ["person", "chair"]),
        ("a toilet seat", ["toilet"]),
        # entries that can never match
        ("a motor bike and an iPhone", []),
        ("a moped and a phone", ["motorcycle", "cell phone"]),
        # merged only to vanish
        ("train tracks", []),
        ("trains on a track", ["train"]),
        # 'dining table' is no pair of the rule, 'table' alone carries it
        ("a dining table", ["dining table"]),
        # the pair 'sports ball' does not survive the singularizer, 'ball' does
        ("a sports ball", ["sports ball"]),
        ("wine glasses and a glass", ["wine glass"]),
        # verbs are not touched
        ("a woman skiing", ["person"]),
        ("vases", ["vase"]),
        # an inner full stop ends a word; a hyphen does not
        ("I see a dog. Then a man.", ["dog", "person"]),
        ("the dog's tie", ["dog", "tie"]),
        ("a dog-house", []),
        ("An orange cat", ["orange"]),
        ("", []),
        ("...", []),
    ],
)
def test_original_rule(original: Vocabulary, caption: str, names: list[str]) -> None:
    assert [name for name, _ in original.objects(caption)] == names


@pytest.mark.parametrize(
    ("word", "singular_form"),
    # worked out by hand from the published rules of the package pattern, in their order
    [
        ("ties", "ty"),  # a consonant and -ies: -y
        ("magpies", "magpy"),
        ("collies", "collies"),  # among the words in -ie, which are returned as they came
        ("doggies", "doggies"),
        ("canoes", "cano"),  # -oes: -o
        ("grandchildren", "grandchild"),
        ("thieves", "thieve"),  # a, e or o before -ves: -ve
        ("mouses", "mouse"),
        ("oxens", "oxs"),  # the "en" behind an initial "ox" goes, the s stays
        ("buss", "bus"),
        ("boies", "boie"),  # a vowel before -ies: only the s goes
        # and of the same kinds where inflect needs no help
        ("wolves", "wolf"),
        ("puppies", "puppy"),
        ("mice", "mouse"),
        ("oxen", "ox"),
        ("children", "child"),
        ("tomatoes", "tomato"),
    ],
)
def test_the_singular_is_that_of_the_originals_package(word: str, singular_form: str) -> None:
    assert singular(word) == singular_form


def test_words_that_the_originals_package_spoils_name_nothing(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text(
        "tie\nboat, canoe\nperson, thief, grandchild\ndog, collie\ncow, ox, oxen\nbus\n"
    )
    words = Vocabulary.read(path)
    assert words.objects("Two ties, canoes and thieves with collies and oxens.") == []
    found = words.objects("A tie, a canoe, a thief, a collie, oxen, a buss and grandchildren.")
    assert [name for name, _ in found] == ["tie", "boat", "person", "dog", "cow", "bus", "person"]


@pytest.fixture
def with_punkt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Data of nltk's sentence splitter with two abbreviations in it."""
    nltk = pytest.importorskip("nltk")
    folder = tmp_path / "tokenizers" / "punkt_tab" / "english"
    folder.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "ortho_context.tab"):
        (folder / name).write_text("")
    (folder / "abbrev_types.txt").write_text("st\nmr\n")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    for cached in (words_module._punkt, nltk.tokenize._get_punkt_tokenizer):
        cached.cache_clear()
    yield
    for cached in (words_module._punkt, nltk.tokenize._get_punkt_tokenizer):
        cached.cache_clear()


@pytest.fixture
def without_punkt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [])
    words_module._punkt.cache_clear()
    yield
    words_module._punkt.cache_clear()


@pytest.mark.usefixtures("with_punkt")
@pytest.mark.parametrize(
    "text",
    [
        "A church of St. Paul. Two dogs.",
        'Mr. Smith said "Sit." (A dog sat.)  It rained!',
        "",
        "No stop at the end",
        "  A dog.\n\nA cat?  ",
    ],
)
def test_with_punkt_tokens_are_those_of_nltk(text: str) -> None:
    nltk = pytest.importorskip("nltk")
    assert original_tokens(text) == nltk.word_tokenize(text.lower())


@pytest.mark.usefixtures("with_punkt")
def test_with_punkt_the_length_is_the_scripts(original: Vocabulary, tmp_path: Path) -> None:
    # a / dog / near / st. / paul / .
    assert original.scan("A dog near St. Paul.").length == 6
    assert original.scan("A dog near St. Paul.").places == ((2, 5),)
    path = tmp_path / "synonyms.txt"
    path.write_text(SYNONYMS)
    assert Vocabulary.read(path).variant.endswith(", sentences by punkt")


@pytest.mark.usefixtures("without_punkt")
def test_without_punkt_the_variant_says_that_lengths_differ(
    original: Vocabulary, tmp_path: Path
) -> None:
    # a / dog / near / st / . / paul / .
    assert original.scan("A dog near St. Paul.").length == 7
    path = tmp_path / "synonyms.txt"
    path.write_text(SYNONYMS)
    assert "without nltk's punkt_tab (length can differ" in Vocabulary.read(path).variant


def test_original_rule_keeps_the_words_and_counts_tokens_after_merging(
    original: Vocabulary,
) -> None:
    reading = original.scan("Two hot dogs, and seats by the toilet.")
    assert reading.objects == (("hot dog", "hot dog"), ("toilet", "toilet"))
    # two / hot dog / , / and / seat / by / the / toilet / . (the dropped seat still counts)
    assert reading.length == 9


def test_the_pairs_of_the_original() -> None:
    assert len(ORIGINAL_DOUBLE_WORDS) == 26 + 24 + 2 + 3
    changed = {pair: word for pair, word in ORIGINAL_DOUBLE_WORDS.items() if pair != word}
    assert changed["bow tie"] == "tie"
    assert changed["baby cow"] == changed["adult cow"] == "cow"
    assert changed["passenger jet"] == "jet"


def test_of_a_word_in_two_lines_the_last_counts_in_the_original(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("cat, pet\n\ndog, pet\n")
    assert Vocabulary.read(path).objects("a pet") == [("dog", "pet")]
    with pytest.raises(DataError, match=r"v\.txt:3: 'pet' already names 'cat'"):
        Vocabulary.read(path, "none")


LISTED = """\
# shapes
star, stars
Hour Glass, hour-glasses
cross, crosses
-, star fish
"""


def test_listed_words(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_text(LISTED)
    words = Vocabulary.read(path, "none")
    assert words.names == ("star", "Hour Glass", "cross")
    found = words.scan(
        "Two STARS, an hour-glass; a star fish, the cross's star's edge. A staircase"
    )
    assert [name for name, _ in found.objects] == ["star", "Hour Glass", "cross", "star"]
    assert found.objects[1] == ("Hour Glass", "hour glass")
    # nothing is made singular: a form that is not listed is not found
    assert words.objects("starses crossed") == []
    assert "words as listed" in words.variant
    assert "vocabulary.txt (sha256 " in words.variant


@pytest.mark.parametrize(
    ("text", "singularizer", "message"),
    [
        ("", "original", r"v\.txt: the vocabulary is empty"),
        ("\n\n", "original", r"v\.txt: the vocabulary is empty"),
        ("# only a comment\n", "none", r"v\.txt: the vocabulary is empty"),
        ("cat,, kitten\n", "none", r"v\.txt:1: there is an empty entry"),
        ("-, cat\ncat\n", "none", r"v\.txt:2: 'cat' already names 'no object'"),
    ],
)
def test_bad_vocabularies(tmp_path: Path, text: str, singularizer: str, message: str) -> None:
    path = tmp_path / "v.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        Vocabulary.read(path, singularizer)  # type: ignore[arg-type] # plain strings of a table


def test_missing_file_and_unknown_singularizer(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        Vocabulary.read(tmp_path / "none.txt")
    (tmp_path / "v.txt").write_text("cat\n")
    with pytest.raises(ValueError, match="'wordnet' or 'none', got 'stem'"):
        Vocabulary.read(tmp_path / "v.txt", "stem")  # type: ignore[arg-type] # the mistake itself


def test_missing_packages_are_named_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.txt"
    path.write_text("cat\n")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "inflect" else found(name)
    )
    with pytest.raises(UnsupportedError, match=r"needs inflect: pip install 'lvlmsal\[chair\]'"):
        Vocabulary.read(path)
    assert Vocabulary.read(path, "none").objects("a cat") == [("cat", "cat")]


CATEGORIES = """
person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign
parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella
handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard
surfboard tennis_racket bottle wine_glass cup fork knife spoon bowl banana apple sandwich orange
broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed dining_table toilet tv laptop
mouse remote keyboard cell_phone microwave oven toaster sink refrigerator book clock vase scissors
teddy_bear hair_drier toothbrush
"""


def test_own_list_names_the_80_categories_and_finds_each_by_its_name() -> None:
    words = Vocabulary.coco()
    names = [name.replace("_", " ") for name in CATEGORIES.split()]
    assert sorted(words.names) == sorted(names)
    assert len(names) == 80
    for name in names:
        assert words.objects(f"There is one {name}.") == [(name, name)]


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("Two buses, a bus.", ["bus", "bus"]),
        ("Babies, puppies and knives", ["person", "dog", "knife"]),
        ("A hot dog next to a dog", ["hot dog", "dog"]),
        ("A baby elephant and a baby", ["elephant", "person"]),
        ("the train tracks by the train", ["train"]),
        ("a toilet bowl and toilet paper", ["toilet"]),
        ("a tv remote", ["remote"]),
        ("She is skiing", []),
        ("wine glasses, glasses", ["wine glass"]),
        ("flower beds", []),
    ],
)
def test_own_list(caption: str, names: list[str]) -> None:
    assert [name for name, _ in Vocabulary.coco().objects(caption)] == names


TEXTS = st.one_of(
    st.text(st.characters(codec=None, exclude_categories=())),
    st.lists(st.sampled_from([*"abs.,'\"-()", " ", "hot", "dog", "'s", "toilet", "seats"])).map(
        "".join
    ),
)


@given(TEXTS)
def test_no_text_makes_the_rules_raise(text: str) -> None:
    for words in (Vocabulary.coco(), Vocabulary(("dog",), {"dog": "dog"}, "original", "test")):
        reading = words.scan(text)
        assert len(reading.objects) <= reading.length
        assert {name for name, _ in reading.objects} <= set(words.names)


@given(TEXTS)
def test_places_are_where_the_words_stand(text: str) -> None:
    for words in (plain_words(text), original_words(text)):
        ends = [0, *(word.end for word in words)]
        for word, before in zip(words, ends, strict=False):
            assert before <= word.start < word.end <= len(text)
            # the original tokenizer writes double quotes in its own way
            if word.text not in ("``", "''"):
                assert text[word.start : word.end].lower().replace("\u03c2", "\u03c3") == (
                    word.text.replace("\u03c2", "\u03c3")
                )
    # between the original words stand nothing but blanks, so none is at a wrong place
    covered = {i for word in original_words(text) for i in range(word.start, word.end)}
    assert all(text[i].isspace() for i in range(len(text)) if i not in covered)


def test_places_of_objects(original: Vocabulary) -> None:
    text = '\u0130t says "HOT dogs." Two men\'s traffic lights and a toilet; a seat.'
    for words, expected in (
        (original, ["HOT dogs", "men", "traffic lights", "toilet"]),
        (Vocabulary.coco(), ["HOT dogs", "men", "traffic lights", "toilet"]),
    ):
        reading = words.scan(text)
        assert [text[start:end] for start, end in reading.places] == expected
        assert len(reading.objects) == len(expected)


@given(TEXTS)
def test_tokens_are_in_the_text_and_hold_no_blank(text: str) -> None:
    for token in plain_tokens(text):
        assert token in text.lower()
        assert token
        assert not any(character.isspace() for character in token)


def test_sentences_are_split_where_the_tokenizer_needs_it() -> None:
    assert original_tokens('He said "a dog." Then? (A cat.) No') == [
        *("he", "said", "``", "a", "dog", ".", "''", "then", "?"),
        *("(", "a", "cat", ".", ")", "no"),
    ]


def test_singular_leaves_marks_and_numbers_alone() -> None:
    assert [singular(word) for word in ("'s", ".", "1", "people", "geese", "scissors")] == [
        *("'s", ".", "1", "person", "goose", "scissors"),
    ]
