"""Which words of a description AMBER looks at: the official way, and one that needs no data."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.metrics.text.words import plain_tokens, plurals

AmberVariant = Literal["official", "words"]

SIMILARITY: Final = 0.8
"""Words count as near-synonyms above this cosine of their vectors."""
SPACY_MODEL: Final = "en_core_web_lg"

_ARTICLES: Final = ("a", "an", "the", "his", "her", "its", "their")
_ONLY_AFTER_ARTICLES: Final = (
    *("can", "drink", "leave", "lock", "note", "range", "ring"),
    *("sailing", "sound", "support", "switch", "watch"),
)
_NEVER: Final = ("hot",)
_IRREGULAR: Final = {
    "child": "children",
    "foot": "feet",
    "goose": "geese",
    "mouse": "mice",
    "person": "people",
    "tooth": "teeth",
}


@dataclass(frozen=True)
class OfficialNouns:
    """Nouns as the official script finds them, with NLTK and spaCy.

    Tokens that NLTK tags as nouns, lemmatized as nouns by WordNet, in the case in which they are
    written: "Dogs" at the head of a sentence stays "Dogs", which AMBER's list does not have. Two
    words are alike if the cosine of their vectors in spaCy's ``en_core_web_lg`` exceeds 0.8.
    """

    def __post_init__(self) -> None:
        """Check that everything is installed.

        Raises:
            UnsupportedError: It is not; the message says what to type.
        """
        missing = missing_official()
        if missing:
            raise UnsupportedError(
                f"AMBER's official way of finding nouns needs {', '.join(missing)}. Type: pip "
                "install nltk spacy; python -m nltk.downloader punkt_tab "
                "averaged_perceptron_tagger_eng wordnet; python -m spacy download "
                f"{SPACY_MODEL}. The variant 'words' (variant: words in a config, --variant words "
                "on the command line) needs none of them; its figures are lvlmsal's own and do "
                "not compare with published ones."
            )

    @property
    def note(self) -> str:
        """What reads the descriptions, for the record of a result."""
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("nltk", "spacy")]
        return f"nouns as the official script finds them, with {', '.join(versions)}"

    def nouns(self, text: str) -> list[str]:
        """The nouns of a text in order, lemmatized."""
        import nltk
        from nltk.stem import WordNetLemmatizer

        lemmatize = WordNetLemmatizer().lemmatize
        tagged = nltk.pos_tag(nltk.word_tokenize(text))
        return [lemmatize(word) for word, tag in tagged if tag.startswith("NN")]

    def similar(self, first: str, second: str) -> bool:
        """Whether two words are near-synonyms."""
        return _similarity(first, second) > SIMILARITY


@dataclass(frozen=True)
class ListedNouns:
    """Words of AMBER's list wherever they stand, found without a tagger or word vectors.

    Every word of ``relation.json`` is found in any case and as a plural. Some are seldom nouns in a
    description ("can", "watch", "leave"): these count as plurals and after an article or a
    possessive only, and "hot" never counts. No two different words are alike.

    Attributes:
        words: The words of ``relation.json`` with their plurals.
    """

    words: Vocabulary

    @classmethod
    def of(cls, relation: Mapping[str, Iterable[str]]) -> ListedNouns:
        """Look for the words of a relation file.

        Example:
            >>> listed = ListedNouns.of({"man": ["boy"], "TV": [], "can": [], "knife": []})
            >>> listed.nouns("Two men can be seen with knives, a can and a tv.")
            ['man', 'knife', 'can', 'TV']
        """
        words = dict.fromkeys(word for pair in relation.items() for word in (pair[0], *pair[1]))
        forms: dict[str, str] = {}
        for word in words:
            forms.setdefault(_plain(word), word)
        for form, word in list(forms.items()):
            for plural in _plurals(form):
                # a listed word keeps its meaning: "people" is not "person"
                forms.setdefault(plural, word)
        for form in (*_ONLY_AFTER_ARTICLES, *_NEVER):
            if word := forms.get(form, ""):
                forms[form] = ""
                if form not in _NEVER:
                    forms.update({f"{article} {form}": word for article in _ARTICLES})
        return cls(Vocabulary(tuple(words), forms, "none", "words of relation.json"))

    @property
    def note(self) -> str:
        """What reads the descriptions, for the record of a result."""
        return "words of relation.json and their plurals, lvlmsal's own rule 1, no near-synonyms"

    def nouns(self, text: str) -> list[str]:
        """The listed words of a text, in order and as often as they occur."""
        return [word for word, _ in self.words.objects(text)]

    def similar(self, first: str, second: str) -> bool:
        """Whether two words are the same."""
        return first == second


def missing_official() -> list[str]:
    """What the official way of finding nouns needs and this machine lacks."""
    packages = ("nltk", "spacy", SPACY_MODEL)
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if "nltk" in missing:
        return missing
    import nltk
    from nltk.stem import WordNetLemmatizer

    needed: list[tuple[str, Callable[[], Any]]] = [
        ("NLTK's punkt_tab", lambda: nltk.word_tokenize("dogs")),
        ("NLTK's averaged_perceptron_tagger_eng", lambda: nltk.pos_tag(["dogs"])),
        ("NLTK's wordnet", lambda: WordNetLemmatizer().lemmatize("dogs")),
    ]
    for name, use in needed:
        # NLTK looks for its data when it is first used, in several places and forms
        try:
            use()
        except LookupError:
            missing.append(name)
    return missing


def _plain(word: str) -> str:
    return " ".join(plain_tokens(word))


def _plurals(word: str) -> set[str]:
    found = plurals(word)
    if word in _IRREGULAR:
        found.add(_IRREGULAR[word])
    if word.endswith("man"):
        found.add(f"{word[:-3]}men")
    if word.endswith(("f", "fe")):
        found.add(f"{word.removesuffix('e').removesuffix('f')}ves")
    if word.endswith("o"):
        found.add(f"{word}es")
    return found


@functools.lru_cache(maxsize=200_000)
def _similarity(first: str, second: str) -> float:
    with warnings.catch_warnings():
        # of words without a vector, which are like no other
        warnings.simplefilter("ignore", UserWarning)
        return float(_document(first).similarity(_document(second)))


@functools.lru_cache(maxsize=20_000)
def _document(word: str) -> Any:
    return _spacy_model()(word)


@functools.cache
def _spacy_model() -> Any:
    import spacy

    return spacy.load(SPACY_MODEL)
