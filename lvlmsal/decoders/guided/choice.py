"""The rule of guided decoding: which of some judged candidates is taken, if any is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """A token that might be taken.

    Attributes:
        token: its id.
        probability: under the scores from which is chosen.
        risk: of the judged word that it begins; ``None`` where it begins none.
        objects: that it can be the name of.
    """

    token: int
    probability: float
    risk: float | None
    objects: frozenset[str]


@dataclass(frozen=True)
class Choice:
    """What is taken in place of a first candidate that is too risky, or that it is.

    Attributes:
        taken: the candidate.
        fallback: whether all judged candidates are too risky and this is the least risky one.
        rejected: the judged candidates that are too risky, in their order; without the one taken.
    """

    taken: Candidate
    fallback: bool
    rejected: tuple[Candidate, ...]

    def rejections(self) -> list[dict[str, Any]]:
        """For the record."""
        return [
            {"id": one.token, "risk": one.risk, "probability": one.probability}
            for one in self.rejected
        ]


def choose(
    candidates: Sequence[Candidate], is_risky: Callable[[float], bool], named: frozenset[str]
) -> Choice:
    """Choose where the first candidate begins a judged word.

    It is taken unless it is risky. Otherwise the first other one that begins a judged word of low
    risk is taken, where those come first that can be a name of something not yet named: a right
    object that is named again would make the answer no better. If there is none, the judged one of
    lowest risk stands.

    Args:
        candidates: in the decoder's order.
        is_risky: whether a risk is too high.
        named: objects that the answer has named.

    >>> words = [Candidate(1, 0.6, 0.99, frozenset({"cat"})), Candidate(2, 0.2, None, frozenset()),
    ...     Candidate(3, 0.1, 0.5, frozenset({"dog"})), Candidate(4, 0.1, 0.7, frozenset({"cow"}))]
    >>> choose(words, lambda risk: risk >= 0.9, frozenset({"dog"})).taken.token
    4
    >>> choose(words[:2], lambda risk: risk >= 0.9, frozenset()).fallback
    True
    """
    judged = [one for one in candidates if one.risk is not None]
    risky = [one for one in judged if one.risk is not None and is_risky(one.risk)]
    first = judged[0]
    if first not in risky:
        return Choice(first, False, ())
    safe = [one for one in judged if one not in risky]
    fresh = [one for one in safe if not one.objects <= named]
    if safe:
        return Choice((fresh or safe)[0], False, tuple(risky))
    least = min(risky, key=lambda one: (one.risk, -one.probability))
    return Choice(least, True, tuple(one for one in risky if one is not least))
