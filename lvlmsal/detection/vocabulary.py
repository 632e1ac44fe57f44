"""Judged words: of which words it is asked whether they are wrong, and how a model writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.prompts import token_texts
from lvlmsal.errors import ConfigError
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.metrics.text.words import plurals

COCO: Final = "coco"
"""What CHAIR's own list of the objects of COCO is called."""

_FUNCTION_WORDS: Final = frozenset(
    {
        "and",
        "are",
        "but",
        "can",
        "for",
        "has",
        "her",
        "his",
        "how",
        "its",
        "not",
        "off",
        "one",
        "out",
        "she",
        "some",
        "that",
        "the",
        "them",
        "then",
        "there",
        "they",
        "this",
        "three",
        "two",
        "was",
        "what",
        "with",
        "you",
    }
)


def judged_vocabulary(words: str | Sequence[str]) -> Vocabulary:
    """The list of words that an option names.

    Args:
        words: ``"coco"``; the path of a file as of ``vocabulary.txt`` in a scene world, every form
            of an object in one line; or the words themselves, each an object of its own.

    Raises:
        ConfigError: no word was given.
        DataError: the file is missing or not a vocabulary.

    >>> judged_vocabulary(["Star", "moon"]).objects("A star.")
    [('Star', 'star')]
    """
    if words == COCO:
        return Vocabulary.coco()
    if isinstance(words, str | Path):
        return Vocabulary.read(words, "none")
    if not words:
        raise ConfigError(
            ["no judged words were given: name at least one, a vocabulary file, or 'coco'"]
        )
    own = {word.lower(): word for word in words}
    return Vocabulary(tuple(words), own, "none", "words of one's own")


@dataclass(frozen=True)
class Writing:
    """Where a judged word stands while it is written, token by token.

    Attributes:
        tokens: of the word so far; empty outside of one.
        last: the token before, of whatever kind; None at the start of an answer.
    """

    tokens: tuple[int, ...] = ()
    last: int | None = None


@dataclass(frozen=True)
class Found:
    """What a token is to the judged words.

    Attributes:
        begins: whether it is the first token of one.
        name: the object, where a word is complete with it; ``""`` where none is.
        writing: where one stands behind it.
    """

    begins: bool
    name: str
    writing: Writing


class JudgedWords:
    """Judged words as tokens of one model.

    A word is judged at its first token, before the rest is known, and again where it is complete.
    What is judged only there, since its first token mostly means something else: words whose first
    token has one or two letters or is a function word (" for" of "fork"), and entries of several
    words ("brown bear") that are no object's own name ("traffic light" is one).

    Args:
        tokenizer: of the model.
        vocabulary: whose words are judged; every form must be listed, as with ``"none"``.

    Attributes:
        tokens: with which words begin in running text, ascending: what a lens normalizes over.

    Raises:
        ConfigError: the tokenizer can write none of the words.
    """

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary) -> None:
        self._tokenizer, self.vocabulary = tokenizer, vocabulary
        self._names: dict[tuple[int, ...], str] = {}
        self._prefixes: set[tuple[int, ...]] = set()
        self._first: set[int] = set()
        self._begun: dict[int, set[str]] = {}
        self._starts: dict[tuple[int, int], bool] = {}
        running: set[int] = set()
        own = {form for name in vocabulary.names for form in (name, *plurals(name))}
        for words, is_running, ids in self._written():
            self._names[ids] = vocabulary.synonyms[words]
            self._begun.setdefault(ids[0], set()).add(vocabulary.synonyms[words])
            self._prefixes.update(ids[:count] for count in range(1, len(ids)))
            if " " not in words or words in own:
                if len(ids) == 1 or self._is_telling(ids[0]):
                    self._first.add(ids[0])
                if is_running:
                    running.add(ids[0])
        if not self._names:
            raise ConfigError(
                [
                    f"the tokenizer of this model can write none of the {len(vocabulary.synonyms)} "
                    f"judged words ({', '.join(list(vocabulary.synonyms)[:3])}, ...): give words "
                    "that the model can say"
                ]
            )
        self.tokens: tuple[int, ...] = tuple(sorted(running))

    def _written(self) -> Iterator[tuple[str, bool, tuple[int, ...]]]:
        """Each word, whether it is as in running text, and its tokens without leading blanks."""
        forms: list[tuple[str, str]] = []
        for words, name in self.vocabulary.synonyms.items():
            if name:  # else a phrase that hides the words in it
                others = [words.capitalize(), *([words.upper()] if len(words) <= 3 else [])]
                written = [form for text in (words, *others) for form in (f" {text}", text)]
                forms += [(words, text) for text in dict.fromkeys(written)]
        ids = self._tokenizer([text for _, text in forms], add_special_tokens=False)["input_ids"]
        for (words, text), tokens in zip(forms, ids, strict=True):
            if self._decoded(tokens).strip() != text.strip():
                continue  # the tokenizer lacks a character, or the whole word
            while not self._decoded(tokens[:1]).strip():
                del tokens[0]
            yield words, text == f" {words}", tuple(tokens)

    def _decoded(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text

    def _is_telling(self, token: int) -> bool:
        text = self._decoded([token]).strip()
        return len(text) > 2 and text.lower() not in _FUNCTION_WORDS

    def step(self, writing: Writing, token: int) -> Found:
        """What a token is, behind what was written so far."""
        longer = (*writing.tokens, token)
        goes_on = bool(writing.tokens) and (longer in self._prefixes or longer in self._names)
        begins = not goes_on and token in self._first and self._starts_word(writing.last, token)
        if not goes_on:
            opens = begins or (
                (token,) in self._prefixes and self._starts_word(writing.last, token)
            )
            longer = (token,) if opens else ()
        return Found(begins, self._names.get(longer, ""), Writing(longer, token))

    def read(self, ids: Iterable[int]) -> list[Found]:
        """What each token of a text is."""
        writing, found = Writing(), []
        for token in ids:
            found.append(self.step(writing, token))
            writing = found[-1].writing
        return found

    def ends(self, writing: Writing, token: int) -> bool:
        """Whether the word that stands at the end is over before a token, which begins another."""
        longer = (*writing.tokens, token)
        goes_on = longer in self._prefixes or longer in self._names
        return not goes_on and self._starts_word(writing.last, token)

    def objects_begun_by(self, token: int) -> frozenset[str]:
        """The objects whose names can begin with a token."""
        return frozenset(self._begun.get(token, ()))

    def _starts_word(self, last: int | None, token: int) -> bool:
        """Whether a token stands at the start of a word, or may be a part of the one before."""
        if last is None:
            return True
        if (last, token) not in self._starts:
            before, text = token_texts(self._tokenizer, [last, token])
            self._starts[last, token] = not (before[-1:].isalnum() and text[:1].isalnum())
        return self._starts[last, token]


_WORDS: WeakKeyDictionary[ModelAdapter, dict[tuple[tuple[str, str], ...], JudgedWords]]
_WORDS = WeakKeyDictionary()


def words_for(adapter: ModelAdapter, vocabulary: Vocabulary) -> JudgedWords:
    """The judged words of a model, which are turned into its tokens once.

    Raises:
        ConfigError: its tokenizer can write none of them.
    """
    known, key = _WORDS.setdefault(adapter, {}), tuple(vocabulary.synonyms.items())
    if key not in known:
        known[key] = JudgedWords(adapter.tokenizer, vocabulary)
    return known[key]
