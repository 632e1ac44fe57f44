"""From a caption to words, in two ways: as the original CHAIR script does it, and plainly."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from lvlmsal.errors import UnsupportedError

if TYPE_CHECKING:
    import inflect
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktTokenizer

_HYPHEN = re.compile(r"(?<=[^\W_])-(?=[^\W_])")
_PLAIN = re.compile(
    r"[^\W_]+(?=['\u2019]s\b)"  # the noun before a genitive: "bear" of "bear's"
    r"|['\u2019]s\b"
    r"|[^\W_]+(?:['\u2019][^\W_]+)*"  # "don't" stays whole
    r"|[^\w\s]"
)
# A sentence ends after . ! or ? and a quote or bracket that may follow, if a blank comes next.
# It stands in for nltk's punkt where the data of that, which pip does not install, is missing: on
# captions the two find the same objects, but "St. Paul" is two sentences here and one there.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"')\]])\s+")

EXTRA: Final = ("inflect", "nltk")
"""The packages that the original script's way of reading needs."""

PATTERN_SINGULARS: Final[Mapping[str, str]] = {
    # an -ie is taken for a -y, or left alone
    "ties": "ty",
    "magpies": "magpy",
    "collies": "collies",
    "doggies": "doggies",
    "canoes": "cano",
    "thieves": "thieve",
    "grandchildren": "grandchild",
    "oxens": "oxs",
    # slips of the pen: an s too many is dropped whatever precedes it
    "mouses": "mouse",
    "buss": "bus",
    "airbuss": "airbus",
    "minibuss": "minibus",
    "skiss": "skis",
    "scissorss": "scissors",
    # and -ies after a vowel only loses its s
    "boies": "boie",
    "guies": "guie",
    "cowboies": "cowboie",
    "bluejaies": "bluejaie",
    "ospreies": "ospreie",
    "turkeies": "turkeie",
    "tramwaies": "tramwaie",
    "trolleies": "trolleie",
}
"""Words of which pattern, the original script's package, makes something else than inflect does.

Of the words of the original's ``synonyms.txt``, their plurals, some misspelled forms and 300,000
words of English, these are all whose singular names an object in one of the packages and not in the
other.
"""


class Word(NamedTuple):
    """A word or mark of a text.

    Attributes:
        text: In lower case.
        start: Where it begins in the text as it was given.
        end: Where it ends there, exclusive.
    """

    text: str
    start: int
    end: int


def plain_words(text: str) -> list[Word]:
    """Words and marks of a text in lower case, each with its place; hyphens part words.

    Example:
        >>> plain_words("A fire-hydrant")
        [Word(text='a', start=0, end=1), Word(text='fire', start=2, end=6),
         Word(text='hydrant', start=7, end=14)]
    """
    lowered, places = _lowered(text)
    found = _PLAIN.finditer(_HYPHEN.sub(" ", lowered))
    return [Word(m[0], places[m.start()], places[m.end() - 1] + 1) for m in found]


def plain_tokens(text: str) -> list[str]:
    """Words and marks of a text in lower case; hyphens part words.

    Example:
        >>> plain_tokens("The bear's fire-hydrant isn't red.")
        ['the', 'bear', "'s", 'fire', 'hydrant', "isn't", 'red', '.']
    """
    return [word.text for word in plain_words(text)]


def original_words(text: str) -> list[Word]:
    """Words and marks of a text in lower case, as ``nltk.word_tokenize`` gives them, with places.

    Sentences are split by nltk's punkt where its data is installed, and then nothing differs.
    Without it a rule splits them, which parts "St. Paul" and the like: one mark more, and the same
    objects.

    Raises:
        UnsupportedError: The extra ``chair`` is not installed.

    Example:
        >>> original_words('A "dog"')
        [Word(text='a', start=0, end=1), Word(text='``', start=2, end=3),
         Word(text='dog', start=3, end=6), Word(text="''", start=6, end=7)]
    """
    tokenizer = _tokenizer()
    lowered, places = _lowered(text)
    found = []
    for begin, stop in _sentences(lowered):
        sentence = lowered[begin:stop]
        at = 0
        for token in tokenizer.tokenize(sentence):
            # All that the tokenizer changes is blanks and what double quotes look like.
            while sentence[at].isspace():
                at += 1
            end = at + (len(token) if sentence.startswith((token, "''"), at) else 1)
            found.append(Word(token, places[begin + at], places[begin + end - 1] + 1))
            at = end
    return found


def original_tokens(text: str) -> list[str]:
    """Words and marks of a text in lower case, as ``nltk.word_tokenize`` gives them.

    Raises:
        UnsupportedError: The extra ``chair`` is not installed.

    Example:
        >>> original_tokens("A dog. It can't see the bear's fire-hydrant.")
        ... # doctest: +NORMALIZE_WHITESPACE
        ['a', 'dog', '.', 'it', 'ca', "n't", 'see', 'the', 'bear', "'s", 'fire-hydrant', '.']
    """
    return [word.text for word in original_words(text)]


def sentence_rule() -> str:
    """How captions are split into sentences here, for the variant that a result names."""
    if _punkt() is None:
        return "sentences by a rule, without nltk's punkt_tab (length can differ from the script's)"
    return "sentences by punkt"


def _sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text begin and end."""
    if (punkt := _punkt()) is not None:
        return [(start, stop) for start, stop in punkt.span_tokenize(text)]
    gaps = [match.span() for match in _SENTENCE_END.finditer(text)]
    starts = [0, *(stop for _, stop in gaps)]
    return list(zip(starts, [*(start for start, _ in gaps), len(text)], strict=True))


def _lowered(text: str) -> tuple[str, Sequence[int]]:
    """The text in lower case and, for each character of that, where it stands in the text."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered, range(len(text))
    # a few letters, such as the Turkish capital I with a dot, are two in lower case
    return lowered, [place for place, letter in enumerate(text) for _ in letter.lower()]


@functools.lru_cache(maxsize=100_000)
def singular(word: str) -> str:
    """The singular of a word in lower case, as far as inflect gets that of the original script.

    The original uses the package pattern, which no longer installs. inflect agrees with it on
    0.998 of captions, and shares its slips: "bus" becomes "bu" and is never found, "buses" is.
    Where it differs in a way that changes an object, `PATTERN_SINGULARS` has the original's form:
    "ties" and "canoes", which pattern spoils, name nothing.

    Args:
        word: One token.

    Returns:
        The singular, or the word itself if it is none.

    Raises:
        UnsupportedError: The extra ``chair`` is not installed.

    Example:
        >>> [singular(word) for word in ("men", "buses", "bus", "tennis", "glass", "ties")]
        ['man', 'bus', 'bu', 'tenni', 'glass', 'ty']
    """
    # marks and numbers have no singular, nor has the "'s" that the tokenizer separates from a noun
    if not word[:1].isalpha():
        return word
    if word in PATTERN_SINGULARS:
        return PATTERN_SINGULARS[word]
    found = _inflect().singular_noun(word)
    return str(found) if found else word


def plurals(word: str) -> set[str]:
    """Regular plurals of a word or phrase.

    Example:
        >>> sorted(plurals("bus") | plurals("puppy") | plurals("traffic light") | plurals("toy"))
        ['buses', 'puppies', 'toys', 'traffic lights']
    """
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return {f"{word}es"}
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return {f"{word[:-1]}ies"}
    return {f"{word}s"}


def require_original() -> str:
    """Check that the original script's way of reading is available.

    Returns:
        Names and versions of the packages that it uses, for the record of a result.

    Raises:
        UnsupportedError: One of them is missing; the message says what to type.
    """
    missing = [package for package in EXTRA if importlib.util.find_spec(package) is None]
    if missing:
        raise UnsupportedError(
            f"reading captions as the original CHAIR script does needs {' and '.join(missing)}: "
            "pip install 'lvlmsal[chair]'. Without it, a vocabulary that lists every form of its "
            "words can be read with the singularizer 'none'."
        )
    versions = [f"{package} {importlib.metadata.version(package)}" for package in EXTRA]
    return ", ".join([*versions, sentence_rule()])


@functools.cache
def _tokenizer() -> NLTKWordTokenizer:
    require_original()
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()


@functools.cache
def _punkt() -> PunktTokenizer | None:
    """The sentence splitter of ``nltk.word_tokenize``; None where its data is not installed."""
    from nltk.tokenize.punkt import PunktTokenizer

    try:
        return PunktTokenizer("english")
    except LookupError:
        return None


@functools.cache
def _inflect() -> inflect.engine:
    require_original()
    import inflect

    return inflect.engine()
