"""What judging may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lvlmsal.judges.store import Usage


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the judging of a store may cost, over all sessions of one judge together.

    Attributes:
        price_in: Price of a million tokens of requests, in any currency.
        price_out: Price of a million tokens of replies.
        max_calls: At most this many requests are sent, repeated tries included.
        max_cost: No request is sent once this much is spent; those under way may go beyond it.
    """

    price_in: float | None = None
    price_out: float | None = None
    max_calls: int | None = None
    max_cost: float | None = None

    def problems(self) -> list[str]:
        """Everything that is wrong with the numbers."""
        found = [
            f"{name}: must not be negative, got {value}"
            for name, value in vars(self).items()
            if value is not None and value < 0
        ]
        if self.max_cost is not None and (self.price_in is None or self.price_out is None):
            found.append("max_cost: needs the prices of a million tokens, price_in and price_out")
        return found

    def cost(self, usage: Usage) -> float | None:
        """Price of what was used; None without prices."""
        if self.price_in is None or self.price_out is None:
            return None
        tokens = self.price_in * usage.prompt_tokens + self.price_out * usage.completion_tokens
        return tokens / 1e6
