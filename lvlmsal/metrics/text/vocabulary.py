"""Which objects a caption mentions: the word rule of CHAIR."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, Self

from lvlmsal.errors import DataError
from lvlmsal.metrics.text.double_words import merge_pairs
from lvlmsal.metrics.text.lemmas import lemmas, require_lemmas
from lvlmsal.metrics.text.words import (
    original_words,
    plain_tokens,
    plain_words,
    plurals,
    require_original,
    singular,
)
from lvlmsal.readers.rows import read_text

Singularizer = Literal["original", "wordnet", "none"]

_NO_OBJECT: Final = "-"


@dataclass(frozen=True)
class Reading:
    """What was found in a caption.

    Attributes:
        objects: Each mention, in order: the name of the object and the words that named it.
        length: Number of tokens, marks included, a multi-word object counting as one.
        places: Where each mention begins and ends in the text, as half-open character intervals.
    """

    objects: tuple[tuple[str, str], ...]
    length: int
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Vocabulary:
    """Objects and the words that name them.

    Use `read` for a file, `coco` for this library's own list of the COCO objects.

    Attributes:
        names: The objects.
        synonyms: From a word or phrase to the object that it names; an empty name marks a phrase
            that names none and hides the words in it.
        singularizer: ``"original"``, ``"wordnet"``: captions are read as the CHAIR scripts do (see
            `read`). ``"none"``: words are compared as they are; the longest entry wins.
        variant: Says which list and which rule this is. Figures of different variants are not
            comparable, so it belongs next to every figure.
    """

    names: tuple[str, ...]
    synonyms: Mapping[str, str]
    singularizer: Singularizer
    variant: str
    _phrases: dict[tuple[str, ...], str] = field(init=False, repr=False, compare=False)
    _longest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        phrases = {tuple(words.split()): name for words, name in self.synonyms.items()}
        object.__setattr__(self, "_phrases", phrases)
        object.__setattr__(self, "_longest", max(map(len, phrases), default=0))

    @classmethod
    def read(cls, path: Path | str, singularizer: Singularizer = "original") -> Self:
        """Read a vocabulary file: one object a line, its name first, then other words for it.

        With the singularizer ``"original"``, file and captions are read as the original script
        reads ``synonyms.txt`` and captions:

        1. captions in lower case are split into sentences, and these into words and marks;
        2. every token is made singular (by inflect, see `lvlmsal.metrics.text.words.singular`);
        3. from left to right, pairs of words that name one thing are replaced by one word
           (`lvlmsal.metrics.text.double_words`);
        4. if both "toilet" and "seat" are among the words, every "seat" is dropped;
        5. the words of the list are kept, every time they occur.

        Entries are separated by a comma and one space and kept to the letter: one with a capital or
        with a second blank before it can never match. Of a word in two lines the last one counts.

        With ``"wordnet"``, step 2 is that of OPERA, PAI and lmms-eval instead: tokens are tagged
        and brought into the dictionary form of their part of speech (`text.lemmas`).
        The two rules differ in about one mention of 25.

        With ``"none"``, the file must list all forms of its words, plurals too. Case and blanks
        around entries do not matter, entries of several words are found without further ado, and
        lines that start with ``#`` are comments. A line whose first entry is ``-`` lists phrases
        that name no object.

        Args:
            path: The file.
            singularizer: ``"original"``, ``"wordnet"`` or ``"none"``.

        Returns:
            The vocabulary.

        Raises:
            DataError: The file is missing or holds no words; with ``"none"`` also a word that
                stands in two lines.
            UnsupportedError: The extra ``chair``, or nltk's data for ``"wordnet"``, is missing.
            ValueError: There is no such singularizer.
        """
        path = Path(path)
        text = read_text(path)
        mark = f"{path.name} (sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]})"
        if singularizer == "original":
            packages = require_original()
            names, synonyms = _parse_original(text, path)
            variant = f"{mark}, read as the original script does, with {packages}"
        elif singularizer == "wordnet":
            packages = require_lemmas()
            names, synonyms = _parse_original(text, path)
            variant = f"{mark}, read as OPERA and PAI do, with {packages}"
        elif singularizer == "none":
            names, synonyms = _parse_listed(text.split("\n"), path)
            variant = f"{mark}, words as listed"
        else:
            raise ValueError(
                f"singularizer must be 'original', 'wordnet' or 'none', got {singularizer!r}"
            )
        return cls(names, synonyms, singularizer, variant)

    @classmethod
    def coco(cls) -> Self:
        """This library's own words for the 80 objects of COCO.

        The list is not the one of the original script, so figures differ from published ones;
        to reproduce those, `read` the original's ``synonyms.txt``.

        Example:
            >>> Vocabulary.coco().objects("Two men feed hot dogs to a dog near the traffic-lights.")
            ... # doctest: +NORMALIZE_WHITESPACE
            [('person', 'men'), ('hot dog', 'hot dogs'), ('dog', 'dog'),
             ('traffic light', 'traffic lights')]
        """
        path = files("lvlmsal.metrics.text") / "data" / "coco_objects.txt"
        lines = path.read_text(encoding="utf-8").split("\n")
        names, synonyms = _parse_listed(lines, Path(str(path)))
        forms = dict(synonyms)
        for words, name in synonyms.items():
            for form in plurals(words):
                # a listed word keeps its meaning
                forms.setdefault(form, name)
        return cls(names, forms, "none", "COCO objects, lvlmsal's own list 1, words as listed")

    def canonical(self, name: str) -> str:
        """What this vocabulary calls an annotated object.

        Annotations and the first words of lines may use different names for one object.

        Args:
            name: Name of an object in annotations.

        Returns:
            The object that the name names; the name itself if it is not in the vocabulary.

        Example:
            >>> Vocabulary.coco().canonical("sofa"), Vocabulary.coco().canonical("drone")
            ('couch', 'drone')
        """
        if self.singularizer != "none":
            return self.synonyms.get(name, name)
        return self._phrases.get(tuple(plain_tokens(name))) or name

    def objects(self, text: str) -> list[tuple[str, str]]:
        """The mentions of objects in a text, in order and as often as they occur.

        Args:
            text: Any text.

        Returns:
            Pairs of the object's name and the words that named it, in lower case and, with the
            singularizer ``"original"``, in the singular.
        """
        return list(self.scan(text).objects)

    def scan(self, text: str) -> Reading:
        """The mentions of objects in a text and its length.

        Args:
            text: Any text.

        Returns:
            What was found; of an empty text nothing, and length 0.

        Example:
            >>> Vocabulary.coco().scan("A fire hydrant beside a car.")
            Reading(objects=(('fire hydrant', 'fire hydrant'), ('car', 'car')), length=6,
                    places=((2, 14), (24, 27)))
        """
        return self._scan(text) if self.singularizer == "none" else self._scan_original(text)

    def _scan_original(self, text: str) -> Reading:
        given = original_words(text)
        texts = [word.text for word in given]
        forms = lemmas(texts) if self.singularizer == "wordnet" else map(singular, texts)
        words = [word._replace(text=form) for word, form in zip(given, forms, strict=True)]
        words = merge_pairs(words)
        length = len(words)
        hides_seat = {"toilet", "seat"} <= {word.text for word in words}
        hidden = {"seat"} if hides_seat else set()
        found = [w for w in words if w.text in self.synonyms and w.text not in hidden]
        objects = tuple((self.synonyms[word.text], word.text) for word in found)
        return Reading(objects, length, tuple((word.start, word.end) for word in found))

    def _scan(self, text: str) -> Reading:
        words = plain_words(text)
        tokens = [word.text for word in words]
        found: list[tuple[str, str]] = []
        places: list[tuple[int, int]] = []
        start = length = 0
        while start < len(tokens):
            # a phrase, or a step over one token
            width = next(
                (
                    width
                    for width in range(min(self._longest, len(tokens) - start), 0, -1)
                    if tuple(tokens[start : start + width]) in self._phrases
                ),
                0,
            )
            phrase = tuple(tokens[start : start + width])
            if width and (name := self._phrases[phrase]):
                found.append((name, " ".join(phrase)))
                places.append((words[start].start, words[start + width - 1].end))
            start += max(width, 1)
            length += 1
        return Reading(tuple(found), length, tuple(places))


def _parse_original(text: str, path: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    names: list[str] = []
    synonyms: dict[str, str] = {}
    for line in text.split("\n"):
        entries = line.strip().split(", ")
        if entries == [""]:
            continue
        names.append(entries[0])
        synonyms.update(dict.fromkeys(entries, entries[0]))
    if not names:
        raise DataError("the vocabulary is empty; expected lines such as 'dog, puppy'", path=path)
    return tuple(names), synonyms


def _parse_listed(lines: Iterable[str], path: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    names: list[str] = []
    synonyms: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first, *others = [entry.strip() for entry in line.split(",")]
        if first != _NO_OBJECT:
            names.append(first)
        for entry in others if first == _NO_OBJECT else [first, *others]:
            words = " ".join(plain_tokens(entry))
            name = "" if first == _NO_OBJECT else first
            if not words:
                raise DataError(
                    f"there is an empty entry: {line.strip()!r}", path=path, line=number
                )
            if synonyms.setdefault(words, name) != name:
                raise DataError(
                    f"'{words}' already names {synonyms[words] or 'no object'!r}; a word can name "
                    "one object only",
                    path=path,
                    line=number,
                )
    if not names:
        raise DataError("the vocabulary is empty; expected lines such as 'dog, dogs'", path=path)
    return tuple(names), synonyms
