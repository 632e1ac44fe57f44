"""One sample of a guided batch: what it has said, and where its sentence began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lvlmsal.decoders.guided.records import GuidedRecord
from lvlmsal.decoders.predicting_rows import Rows
from lvlmsal.detection.vocabulary import Found, Writing


@dataclass(frozen=True)
class Start:
    """The beginning of a sentence, and all that was known there.

    Attributes:
        column: of its first token.
        logits: that predict it, edited, shape (V,).
        rows: the raw ones and the states, of one row.
        said: what had been said before it.
    """

    column: int
    logits: Tensor
    rows: Rows
    said: Said


@dataclass(frozen=True)
class Piece:
    """A token of the word that is being written, and the row that predicted it."""

    rows: Rows
    token: int
    position: int


@dataclass(frozen=True)
class Said:
    """What a sample has said.

    Attributes:
        records: one a token.
        writing: where a judged word stands while it is written.
        named: the objects that were named.
        pieces: tokens of the word that is being written.
        excused: whether that word was taken although it is risky.
    """

    records: tuple[GuidedRecord, ...] = ()
    writing: Writing = field(default_factory=Writing)
    named: frozenset[str] = frozenset()
    pieces: tuple[Piece, ...] = ()
    excused: bool = False

    def pieces_with(self, piece: Piece, found: Found) -> tuple[Piece, ...]:
        """Those of the word that a token begins or goes on with; none outside of a word."""
        length = len(found.writing.tokens)
        return (*self.pieces[len(self.pieces) - length + 1 :], piece) if length else ()

    def plus(
        self, record: GuidedRecord, found: Found, pieces: tuple[Piece, ...], *, excused: bool
    ) -> Said:
        """One token more."""
        named = self.named | {found.name} if found.name else self.named
        return Said((*self.records, record), found.writing, named, pieces, excused)


@dataclass
class Sample:
    """The state of one sample.

    Attributes:
        name: its id.
        said: so far.
        running: whether it goes on.
        start: of the sentence that is being said; ``None`` where the next token begins one.
        banned: tokens with which that sentence must not begin any more.
        tries: how often a sentence was taken back.
        taken_back: the sentences given up where the present one began.
        replay: tokens that were chosen already and are run again behind another sample's step back.
    """

    name: str
    said: Said = field(default_factory=Said)
    running: bool = True
    start: Start | None = None
    banned: set[int] = field(default_factory=set)
    tries: int = 0
    taken_back: list[dict[str, Any]] = field(default_factory=list)
    replay: list[int] = field(default_factory=list)

    @property
    def decides(self) -> bool:
        """Whether its next token is open."""
        return self.running and not self.replay

    def end_sentence(self) -> None:
        """The next token begins another one."""
        self.start, self.banned, self.taken_back = None, set(), []

    def go_back(self, token: int, lost: dict[str, Any], again: Sequence[int]) -> None:
        """Give up the sentence.

        Args:
            token: with which it began.
            lost: what the record says of it.
            again: tokens before the sentence that have to be run again.
        """
        assert self.start is not None
        self.banned.add(token)
        self.tries += 1
        self.taken_back.append(lost)
        self.said = self.start.said
        self.replay = list(again)
