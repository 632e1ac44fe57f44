"""The marks of REVERSE: which phrase of an answer is doubted, and how much of it stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FORMAT: tuple[int, ...] | None = None
"""What is doubted where marks do not come in pairs: no phrase, but the form of the answer."""


@dataclass(frozen=True)
class Marks:
    """Ids of the three tokens.

    Attributes:
        opens: stands before a phrase.
        confident: closes one that the model is sure of.
        unconfident: closes another one.
    """

    opens: int
    confident: int
    unconfident: int

    def closes(self, token: int) -> bool:
        """Whether a token stands behind a phrase."""
        return token in (self.confident, self.unconfident)

    def are(self, token: int) -> bool:
        """Whether a token is one of them."""
        return token == self.opens or self.closes(token)


@dataclass(frozen=True)
class Piece:
    """A token of a try.

    Attributes:
        token: its id.
        probability: with which it was drawn.
        doubt: probability of the unconfident mark in its place, before any processor; ``None`` for
            a token that closes no phrase.
    """

    token: int
    probability: float
    doubt: float | None = None


@dataclass(frozen=True)
class Doubted:
    """Why a try does not stand.

    Attributes:
        phrase: ids of the phrase; ``None`` where marks do not come in pairs.
        kept: how many tokens of the try stay, those up to the last phrase that is not doubted.
        doubt: probability of the unconfident mark.
    """

    phrase: tuple[int, ...] | None
    kept: int
    doubt: float | None = None


def first_doubted(
    said: Sequence[Piece], new: Sequence[Piece], marks: Marks, threshold: float
) -> Doubted | None:
    """Find the first doubted phrase of a try.

    Args:
        said: what stands before it.
        new: the try.
        marks: of phrases.
        threshold: a phrase is doubted above it.

    Returns:
        ``None`` where the try stands: no phrase is doubted, or none is marked.

    >>> marks = Marks(opens=1, confident=2, unconfident=3)
    >>> sure = [Piece(1, 1.0), Piece(40, 1.0), Piece(2, 1.0, 0.001), Piece(41, 1.0)]
    >>> unsure = [Piece(1, 1.0), Piece(50, 1.0), Piece(51, 1.0), Piece(2, 1.0, 0.2)]
    >>> first_doubted([], sure + unsure, marks, 0.003)
    Doubted(phrase=(50, 51), kept=3, doubt=0.2)
    >>> first_doubted([], sure, marks, 0.003)
    >>> first_doubted([], unsure[:2], marks, 0.003)
    Doubted(phrase=None, kept=0, doubt=None)
    """
    whole = [piece.token for piece in (*said, *new)]
    if marks.opens not in whole:
        return None
    if not _in_pairs(whole, marks):
        return Doubted(FORMAT, 0)
    tokens = [piece.token for piece in new]
    opened = [at for at, token in enumerate(tokens) if token == marks.opens]
    closed = [at for at, token in enumerate(tokens) if marks.closes(token)]
    # where each phrase may be taken back to: behind the one before it
    starts = [0, *(end + 1 for end in closed)]
    for begin, end, start in zip(opened, closed, starts, strict=False):
        doubt = new[end].doubt
        if doubt is not None and doubt > threshold:
            return Doubted(tuple(tokens[begin + 1 : end]), start, doubt)
    return None


def _in_pairs(tokens: Sequence[int], marks: Marks) -> bool:
    """Whether there are as many openings as closings, each before the closing of its number."""
    opened = [at for at, token in enumerate(tokens) if token == marks.opens]
    closed = [at for at, token in enumerate(tokens) if marks.closes(token)]
    same = len(opened) == len(closed)
    return same and all(begin < end for begin, end in zip(opened, closed, strict=True))


def without_marks(pieces: Sequence[Piece], marks: Marks) -> list[int]:
    """Which pieces make the answer, by their places.

    Without any opening, what stands behind the first unconfident mark is left out as well.

    Args:
        pieces: of an answer.
        marks: of phrases.
    """
    tokens = [piece.token for piece in pieces]
    if marks.opens not in tokens and marks.unconfident in tokens:
        tokens = tokens[: tokens.index(marks.unconfident)]
    return [at for at, token in enumerate(tokens) if not marks.are(token)]
