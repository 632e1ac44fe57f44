"""What SGRS asks of the saliency of its candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.saliency.options import SaliencyOptions


class CandidateSaliency(ABC):
    """Judges the candidates of one position and moves on to the next.

    Attributes:
        logits: raw logits that predict the next token, shape (B, V).
    """

    logits: Tensor

    def __init__(self, stream: RecordingStream, options: SaliencyOptions) -> None:
        self.stream, self.options = stream, options
        self.logits = stream.prefill()

    @abstractmethod
    def judge(self, tokens: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[float]:
        """S of one candidate of the next position for each sample; ``nan`` where undefined.

        Args:
            tokens: the candidates to judge.
            candidates: all of each sample in the order in which they are tried, where more may
                have to be judged.
        """

    @abstractmethod
    def advance(self, tokens: Sequence[int], *, judged_next: bool) -> None:
        """Commit the chosen tokens; ``judged_next`` where :meth:`judge` will follow."""

    def draft(self, tokens: Sequence[int]) -> None:
        """Move on by a plain step, judged or not."""
        self.logits = self.stream.step(self._column(tokens)[:, 0])

    def _column(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor(tokens, device=self.stream.input_ids.device)[:, None]


class BlockSaliency(CandidateSaliency):
    """One that also judges a block of drafted tokens at once."""

    @abstractmethod
    def verify(self, tokens: Tensor) -> list[list[float]]:
        """S of m drafted tokens (B, m), the last of which was not moved on to; a list a sample."""

    @abstractmethod
    def accept(self, count: int) -> None:
        """Keep that many of the tokens that were verified, and forget the others."""


class NoSaliency(CandidateSaliency):
    """The control, which rejects nothing: plain steps, nothing is judged."""

    def judge(self, tokens: Sequence[int], candidates: Sequence[Sequence[int]]) -> list[float]:
        """Undefined for every candidate, so that the first one is always taken."""
        return [float("nan")] * len(tokens)

    def advance(self, tokens: Sequence[int], *, judged_next: bool) -> None:
        """The next plain step."""
        self.draft(tokens)
