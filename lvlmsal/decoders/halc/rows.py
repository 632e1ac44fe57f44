"""One sequence of a sample, and the ways in which it may go on."""

from __future__ import annotations

from dataclasses import dataclass, field

from lvlmsal.decoders.halc.records import HalcRecord
from lvlmsal.detection.vocabulary import Found, Writing
from lvlmsal.errors import UnsupportedError
from lvlmsal.evidence.base import Box


@dataclass(frozen=True)
class Row:
    """One sequence of a sample.

    Attributes:
        sample: which.
        records: one a token.
        before: where a word stands behind the token before the last one.
        found: what the last token is to the judged words.
        settled: whether that token stays, whatever word it ends.
        running: whether it goes on.
    """

    sample: int
    records: tuple[HalcRecord, ...] = ()
    before: Writing = field(default_factory=Writing)
    found: Found = field(default_factory=lambda: Found(False, "", Writing()))
    settled: bool = True
    running: bool = True

    @property
    def answer(self) -> list[int]:
        """Its tokens."""
        return [record.id for record in self.records]


@dataclass(frozen=True)
class Option:
    """A way to go on for one row of a sample.

    Attributes:
        parent: the row that it goes on from.
        token: the last one of the text.
        text: so far.
        box: around which the crops were made that the token comes from; None for a row as it is.
    """

    parent: int
    token: int
    text: str
    box: Box | None = None


def no_token(name: str) -> UnsupportedError:
    """What is said where no token can be taken for a sample.

    Args:
        name: of the sample.
    """
    return UnsupportedError(
        f"no token is left for sample {name!r}: the logits processors ban the whole vocabulary, or "
        "the logits are not finite"
    )
