"""Words in their dictionary form, as OPERA and its descendants take them."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.text.words import sentence_rule

DATA = ("averaged_perceptron_tagger_eng", "wordnet")
"""What nltk has to download for it."""

# the tags of adjectives, verbs, nouns and adverbs start with these letters; anything else is looked
# up as a noun
_PARTS_OF_SPEECH = {"J": "a", "V": "v", "N": "n", "R": "r"}


class Tools(NamedTuple):
    """What lemmas are made with.

    Attributes:
        tag: From the words of a text to their Penn Treebank tags.
        lemmatise: From a word and its part of speech (a, v, n, r) to its dictionary form.
    """

    tag: Callable[[Sequence[str]], list[str]]
    lemmatise: Callable[[str, str], str]


def lemmas(words: Sequence[str], tools: Tools | None = None) -> list[str]:
    """Dictionary forms of the words of a text: tagged as a whole, then looked up one by one.

    Args:
        words: Words and marks in lower case.
        tools: Tagger and lemmatizer; by default those of nltk.

    Returns:
        One form for each word.

    Raises:
        UnsupportedError: nltk or its data is missing.
    """
    used = tools or nltk_tools()
    return [
        used.lemmatise(word, _PARTS_OF_SPEECH.get(tag[:1], "n"))
        for word, tag in zip(words, used.tag(words), strict=True)
    ]


def require_lemmas() -> str:
    """Check that nltk can tag and lemmatize.

    Returns:
        Name and version of the package and how sentences are split, for the record of a result.

    Raises:
        UnsupportedError: Something is missing; the message says what to type.
    """
    nltk_tools()
    return f"nltk {importlib.metadata.version('nltk')}, {sentence_rule()}"


@functools.cache
def nltk_tools() -> Tools:
    """The tagger of nltk and WordNet's lemmatizer.

    Raises:
        UnsupportedError: The package or its data is missing; the message says what to type.
    """
    if importlib.util.find_spec("nltk") is None:
        raise UnsupportedError(
            "the singularizer 'wordnet' needs nltk: pip install 'lvlmsal[chair]'"
        )
    import nltk
    from nltk.stem import WordNetLemmatizer

    lemmatiser = WordNetLemmatizer()
    try:
        nltk.pos_tag(["dogs"])
        lemmatiser.lemmatize("dogs", "n")
    except LookupError as error:
        raise UnsupportedError(
            "the singularizer 'wordnet' needs data that pip does not install: "
            f"python -m nltk.downloader {' '.join(DATA)} punkt_tab (the last for the script's "
            "sentences). Without it, 'original' reads captions as "
            "the first CHAIR script does; its figures do not compare with those of OPERA and PAI."
        ) from error
    return Tools(
        lambda words: [tag for _, tag in nltk.pos_tag(list(words))],
        lambda word, part: str(lemmatiser.lemmatize(word, part)),
    )
