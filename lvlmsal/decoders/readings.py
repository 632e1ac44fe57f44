"""The two readings of SGRS: from which step a candidate's saliency is taken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from lvlmsal.saliency.losses import row_losses
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.stepping import Stepper


class Reading(ABC):
    """Judges the candidates of one position and moves on to the next.

    Attributes:
        logits: raw logits of the row that predicts the next token, shape (B, V).
    """

    logits: Tensor

    def __init__(self, stepper: Stepper, options: SaliencyOptions) -> None:
        self.stepper, self.options = stepper, options

    @abstractmethod
    def judge(self, tokens: Sequence[int]) -> list[float]:
        """S of one candidate for each sample; ``nan`` where it is undefined."""

    @abstractmethod
    def advance(self, tokens: Sequence[int], *, last: bool) -> None:
        """Commit the chosen tokens; ``last`` where nothing is predicted after them."""

    def _tensor(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor(tokens, device=self.stepper.input_ids.device)


class PredictingRow(Reading):
    """``row="predicting"``: one recorded step serves every candidate of its position."""

    def __init__(self, stepper: Stepper, options: SaliencyOptions) -> None:
        super().__init__(stepper, options)
        self.logits, self._tape = stepper.prefill_recorded()

    def judge(self, tokens: Sequence[int]) -> list[float]:
        """One vector-Jacobian product through the step that is recorded already."""
        losses = row_losses(self.logits, self._tensor(tokens), "predicting")
        saliency = self.stepper.saliency(self._tape, losses, self.options, retain_graph=True)
        return [float(value) for value in saliency]

    def advance(self, tokens: Sequence[int], *, last: bool) -> None:
        """The next step, recorded."""
        if not last:
            self.logits, self._tape = self.stepper.step_recorded(self._tensor(tokens))


class CandidateRow(Reading):
    """``row="candidate"``: each candidate is a recorded step, the accepted one's the next step."""

    def __init__(self, stepper: Stepper, options: SaliencyOptions) -> None:
        super().__init__(stepper, options)
        self.logits = stepper.prefill()
        self._tried: tuple[list[int], Tensor] | None = None

    def judge(self, tokens: Sequence[int]) -> list[float]:
        """Run the candidates as a step, which stays in the cache until the next call."""
        self._discard()
        logits, tape = self.stepper.try_recorded(self._tensor(tokens))
        losses = row_losses(logits, self._tensor(tokens), "candidate")
        self._tried = list(tokens), logits.detach()
        return [float(value) for value in self.stepper.saliency(tape, losses, self.options)]

    def advance(self, tokens: Sequence[int], *, last: bool) -> None:
        """Keep the step that was run last, or run the chosen tokens plainly where they differ."""
        if self._tried is not None and self._tried[0] == list(tokens):
            self.logits = self._tried[1]
            self.stepper.keep()
            self._tried = None
        else:
            self._discard()
            if not last:
                self.logits = self.stepper.step(self._tensor(tokens))

    def _discard(self) -> None:
        if self._tried is not None:
            self.stepper.discard()
            self._tried = None


class Control(Reading):
    """No rejection: plain steps, nothing is judged."""

    def __init__(self, stepper: Stepper, options: SaliencyOptions) -> None:
        super().__init__(stepper, options)
        self.logits = stepper.prefill()

    def judge(self, tokens: Sequence[int]) -> list[float]:
        """Undefined for every candidate, so that the first one is always taken."""
        return [float("nan")] * len(tokens)

    def advance(self, tokens: Sequence[int], *, last: bool) -> None:
        """The next plain step."""
        if not last:
            self.logits = self.stepper.step(self._tensor(tokens))
