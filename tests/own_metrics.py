"""Metrics of a user, as a module that a config names under `plugins`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.registry import METRICS

NAME = "own_metrics_of_a_test"
SOURCE = f"""
from {__name__} import Ends, Words
from lvlmsal.registry import METRICS

METRICS.register("words")(Words)
METRICS.register("ends")(Ends)
"""


@dataclass(eq=False)
class Words(CountMetric):
    """Mean number of words of an answer, those that are shorter than `letters` left out."""

    letters: int = 1

    summary: ClassVar[str] = "words in an answer"
    count_names: ClassVar[tuple[str, ...]] = ("answers", "words")
    figure_info: ClassVar[dict[str, bool | None]] = {"words": False}
    columns: ClassVar[tuple[Column, ...]] = (Column("words", "words an answer", percent=False),)

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """One row (1, number of words) for each answer."""
        counts = [[1, sum(len(w) >= self.letters for w in text.split())] for text in answers]
        return torch.tensor(counts, dtype=torch.float64).reshape(-1, 2)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """The mean."""
        answers, words = counts.unbind(-1)
        return {"words": words / answers}


@dataclass(eq=False)
class Ends(CountMetric):
    """Whether an answer ends in a full stop, and how many answers there are; no columns."""

    summary: ClassVar[str] = "answers that end in a full stop"
    count_names: ClassVar[tuple[str, ...]] = ("answers", "ended")
    figure_info: ClassVar[dict[str, bool | None]] = {"ended": True, "n": None}
    rates: ClassVar[dict[str, tuple[str, str]]] = {"ended": ("ended", "answers")}

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """One row (1, ended or not) for each answer."""
        counts = [[1, text.rstrip().endswith(".")] for text in answers]
        return torch.tensor(counts, dtype=torch.float64).reshape(-1, 2)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """The share and the number."""
        answers, ended = counts.unbind(-1)
        return {"ended": ended / answers, "n": answers}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a module that registers the metrics; afterwards nobody knows them."""
    METRICS.discover()
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    (tmp_path / f"{NAME}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield NAME
    sys.modules.pop(NAME, None)
