"""What is kept of a token that HALC has decided again."""

from __future__ import annotations

from dataclasses import dataclass

from lvlmsal.decoders.records import TokenRecord


@dataclass(repr=False)
class HalcRecord(TokenRecord):
    """One generated token, and what was tried in its place where a judged word ended with it.

    ``tries`` is the number of candidates, and ``rejected`` holds the others with their ``score``.

    Attributes:
        score: of the text up to this token, by the scorer; ``None`` where there was no choice.
        box: that the crops were made around: left, top, right and bottom in shares of the image;
            ``None`` where nothing was tried.
        replaced: text of the token that stood here before; ``None`` where it stayed.
    """

    score: float | None = None
    box: list[float] | None = None
    replaced: str | None = None
