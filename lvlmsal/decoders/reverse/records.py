"""What is kept of a token that REVERSE said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lvlmsal.decoders.records import TokenRecord


@dataclass(repr=False)
class ReverseRecord(TokenRecord):
    """One token of the answer; marks have none.

    ``fallback`` is set for the last token of an answer whose tries were used up.

    Attributes:
        doubt: probability of the unconfident mark behind the phrase that ends with this token;
            ``None`` within a phrase, and outside of any.
        taken_back: the phrases that were given up before this token was said, in their order:
            ``phrase`` and ``doubt``, which is ``None`` where marks did not come in pairs.
    """

    doubt: float | None = None
    taken_back: list[dict[str, Any]] = field(default_factory=list)
