"""What is kept of a token that guided decoding chose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lvlmsal.decoders.records import TokenRecord


@dataclass(repr=False)
class GuidedRecord(TokenRecord):
    """One generated token, the words that were rejected in its place, and what was taken back.

    ``threshold``, ``tries``, ``rejected`` (with ``risk`` in place of a saliency) and ``fallback``
    are those of the base class; the fallback is the judged candidate of lowest risk.

    Attributes:
        risk: of the judged word that begins or is complete with this token; ``None`` where nothing
            was judged.
        taken_back: the sentences that began here and were given up, in their order: ``text``, the
            ``word`` whose candidates were all too risky, and its ``risk``.
    """

    risk: float | None = None
    taken_back: list[dict[str, Any]] = field(default_factory=list)
