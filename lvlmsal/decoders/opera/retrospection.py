"""When OPERA goes back, and where to."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import multimode
from typing import Literal

from torch import Tensor


def mode(values: list[int]) -> int:
    """The most frequent value, the smallest one among equals.

    >>> mode([3, 1, 1, 3, 2])
    1
    """
    return min(multimode(values))


@dataclass
class Retrospection:
    """What one sample has gone back to so far, and what it may still do.

    Args:
        threshold: r; ``None`` never goes back.
        overlap: ``"code"`` or ``"paper"``, see :class:`~lvlmsal.decoders.opera.decoder.OPERA`.
        window: of the paper's overlap.
        limit: how often one position may be gone back to.
        earliest: summary tokens before this index are no reason.
        monotone: whether a position before the last one is refused.

    Attributes:
        times: how often each position was gone back to.
        last: position of the last time.
    """

    threshold: int | None
    overlap: Literal["code", "paper"]
    window: int
    limit: int
    earliest: int
    monotone: bool
    times: dict[int, int] = field(default_factory=dict)
    last: int = 0

    def summary_token(self, places: Tensor) -> int | None:
        """The token that all beams have leaned on too often.

        Args:
            places: c of each beam at each position up to this one, (beams, t + 1).

        Returns:
            Its index among the generated tokens; ``None`` where there is none.
        """
        if self.threshold is None:
            return None
        if self.overlap == "code":
            found = mode(places[:, -1].tolist())
            counts = (places == found).sum(dim=1)
            reached = counts > self.threshold
        else:
            recent = places[:, -self.window :]
            found = mode(recent.flatten().tolist())
            reached = (recent == found).sum(dim=1) >= self.threshold
        return found if bool(reached.all()) and found >= self.earliest else None

    def target(self, places: Tensor) -> int | None:
        """How many generated tokens to keep; ``None`` to go on. A number is counted as a time.

        The token behind the summary token is chosen again; once that was done ``limit`` times, the
        summary token itself.
        """
        summary = self.summary_token(places)
        if summary is None or (self.monotone and summary + 1 < self.last):
            return None
        chosen = places.shape[1] - 1
        for position in (summary + 1, summary):
            if position < chosen and self.times.get(position, 0) < self.limit:
                self.times[position] = self.times.get(position, 0) + 1
                self.last = position
                return position
        return None
