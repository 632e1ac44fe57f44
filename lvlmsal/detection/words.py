"""Which words of an answer are judged, and which tokens spell them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import torch
from torch import Tensor

from lvlmsal.metrics.text.vocabulary import Vocabulary

_SENTENCE_END: Final = re.compile(r"[.!?\u3002\uff01\uff1f]+[\"')\]]*(?:\s+|$)|\n+")

Aggregate = Literal["first", "mean", "max", "noisy-or"]


@dataclass(frozen=True)
class JudgedSpan:
    """A word of an answer that is judged.

    Attributes:
        start: index of its first character.
        end: index behind its last one.
        tokens: index of its first token, and the one behind its last.
        name: what the vocabulary calls the object.
        words: that named it, as `Vocabulary.scan` gives them.
    """

    start: int
    end: int
    tokens: tuple[int, int]
    name: str
    words: str


def judged_spans(text: str, tokens: Sequence[str], vocabulary: Vocabulary) -> list[JudgedSpan]:
    """The words of a text that a vocabulary knows, in order.

    Args:
        text: without special tokens.
        tokens: text of each token, special tokens included.
        vocabulary: of judged words.

    Raises:
        ValueError: the tokens do not spell the text.

    >>> judged_spans("A hot dog.", ["A", " hot", " do", "g", "."], Vocabulary.coco())
    [JudgedSpan(start=2, end=9, tokens=(1, 4), name='hot dog', words='hot dog')]
    """
    reading = vocabulary.scan(text)
    intervals = token_intervals(text, tokens)
    found = []
    for (name, words), (start, end) in zip(reading.objects, reading.places, strict=True):
        inside = [i for i, (first, last) in enumerate(intervals) if first < end and last > start]
        found.append(JudgedSpan(start, end, (inside[0], inside[-1] + 1), name, words))
    return found


def sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text begin and end, the blanks behind each included.

    >>> sentences("A dog. A cat! Two")
    [(0, 7), (7, 14), (14, 17)]
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    if not ends or ends[-1] < len(text):
        ends.append(len(text))
    return [(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True) if a < b]


_AGGREGATES: Final[Mapping[Aggregate, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {
        "first": lambda risks: risks[0],
        "mean": lambda risks: risks.mean(),
        "max": lambda risks: risks.max(),
        "noisy-or": lambda risks: 1 - (1 - risks).prod(),
    }
)


def aggregated(risks: Tensor, span: JudgedSpan, how: Aggregate) -> float | None:
    """The risk of a word from those of its tokens.

    Args:
        risks: of all tokens, shape (T,); nan where one is not judged.
        span: the word.
        how: ``"first"``, where the model decides which word it is to be; ``"mean"`` or ``"max"`` of
            the tokens; ``"noisy-or"``, the chance that one of them is wrong if each were on its
            own.

    Returns:
        None where none of the tokens counts.

    Raises:
        ValueError: there is no such way.
    """
    if how not in _AGGREGATES:
        raise ValueError(f"aggregate={how!r} is unknown: choose one of {', '.join(_AGGREGATES)}")
    mine = risks[slice(*span.tokens)]
    if how == "first":
        mine = mine[:1]
    known = mine[~torch.isnan(mine)]
    return float(_AGGREGATES[how](known)) if len(known) else None


def token_intervals(text: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Where each token stands in a text.

    Args:
        text: Without special tokens.
        tokens: Text of each token, special tokens included; of several tokens that are the bytes of
            one character all but the last are empty, as `ModelAdapter.token_texts` has it.

    Returns:
        A half-open interval of characters for each token: for bytes of one character that of their
        last, for special tokens an empty one.

    Raises:
        ValueError: The tokens do not spell the text.

    Example:
        >>> token_intervals("né", ["n", "", "é", "</s>"])
        [(0, 1), (1, 2), (1, 2), (2, 2)]
    """
    intervals: list[tuple[int, int]] = []
    at = waiting = 0
    for token in tokens:
        if not token:
            waiting += 1
            continue
        # what the text does not go on with is a special token, which decoding leaves out
        end = at + len(token) if text.startswith(token, at) else at
        intervals += [(at, end)] * (waiting + 1)
        at, waiting = end, 0
    if at < len(text):
        raise ValueError(
            f"the tokens do not spell the text: none goes on with {text[at : at + 30]!r}; "
            f"they are {list(tokens)}"
        )
    return intervals + [(at, at)] * waiting
