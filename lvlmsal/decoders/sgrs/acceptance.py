"""The candidates of one sample at one position, tried one after the other."""

from __future__ import annotations

from dataclasses import replace

from lvlmsal.decoders.records import TokenRecord


class Acceptance:
    """Takes the first candidate that reaches the threshold (Algorithm 1).

    Args:
        candidates: tokens in the order in which they are tried, and their probabilities.
        threshold: tau; ``None`` where there is no history, which accepts the first.
        max_tries: R; once so many were rejected, the best of all candidates is taken.
        running: ``False`` for a sample that has ended, whose first token is taken unseen.

    Attributes:
        record: of the token that was taken, once ``decided``.
    """

    def __init__(
        self,
        candidates: dict[int, float],
        threshold: float | None,
        max_tries: int,
        running: bool,
    ) -> None:
        self.candidates, self.tokens, self.threshold = candidates, list(candidates), threshold
        self.max_tries = min(max_tries, len(candidates))
        self.values: list[float] = []
        self.record = TokenRecord(id=self.tokens[0], threshold=threshold)
        self.decided = not running

    @property
    def current(self) -> int:
        """The candidate to judge next, or the one that was taken."""
        return self.record.id if self.decided else self.tokens[len(self.values)]

    @property
    def may_come(self) -> list[int]:
        """The candidates that may have to be judged, or the one that was taken."""
        return [self.record.id] if self.decided else self.tokens

    @property
    def took_first(self) -> bool:
        """Whether the first candidate was taken."""
        return self.decided and self.record.id == self.tokens[0]

    def judged(self, value: float) -> None:
        """Take note of S of the current candidate."""
        if self.decided:
            return
        self.values.append(value)
        tried = len(self.values)
        undefined = value != value  # no context yet: the first candidate is accepted
        accepted = self.threshold is None or undefined or value >= self.threshold
        if tried <= self.max_tries and accepted:
            self._take(tried - 1, tries=tried, fallback=False)
        elif tried == len(self.tokens):
            # what a judge other than saliency cannot tell comes last
            known = [at for at in range(tried) if self.values[at] == self.values[at]]
            best = max(known, key=self.values.__getitem__)
            self._take(best, tries=tried, fallback=True)

    def _take(self, index: int, *, tries: int, fallback: bool) -> None:
        value = self.values[index]
        self.record = replace(
            self.record,
            id=self.tokens[index],
            probability=self.candidates[self.tokens[index]],
            saliency=None if value != value else value,
            tries=tries,
            rejected=[
                {"id": token, "saliency": saliency, "probability": self.candidates[token]}
                for place, (token, saliency) in enumerate(
                    zip(self.tokens, self.values, strict=False)
                )
                if place != index
            ],
            fallback=fallback,
        )
        self.decided = True
