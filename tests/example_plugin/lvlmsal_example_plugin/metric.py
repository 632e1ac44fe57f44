"""A metric: how often an answer hedges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.metrics.base import CountMetric


@dataclass(eq=False)
class Hedging(CountMetric):
    """Share of the answers that hold a word of doubt."""

    words: tuple[str, ...] = ("maybe", "perhaps", "possibly")

    summary: ClassVar[str] = "share of the answers that hold a word of doubt"
    count_names: ClassVar[tuple[str, ...]] = ("answers", "hedged")
    figure_info: ClassVar[dict[str, bool | None]] = {"hedging": None}
    rates: ClassVar[dict[str, tuple[str, str]]] = {"hedging": ("hedged", "answers")}

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """One row (1, hedged or not) for each answer."""
        hedged = [any(word in answer.lower().split() for word in self.words) for answer in answers]
        return torch.tensor([[1, found] for found in hedged], dtype=torch.float64).reshape(-1, 2)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """The share; nan where there is no answer."""
        answers, hedged = counts.unbind(-1)
        return {"hedging": hedged / answers}
