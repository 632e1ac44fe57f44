"""What an intervention is told about the logits that it edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.context import state_of
from lvlmsal.spans import TokenSpans


@dataclass(frozen=True)
class LogitsContext:
    """The rows of a pass that predict generated tokens, the same number in each sample.

    Attributes:
        adapter: of the model; its ``lm_head`` turns hidden states into logits.
        spans: of the prompt, one for each row of the batch.
        first_step: how many tokens were generated before the one that the first row predicts: 0 for
            the last row of a prompt.
        second: raw logits of the second stream for the same tokens, shape (B, r, V); ``None`` where
            there is none.
        hidden: by layer, the residual stream (B, r, D) that enters it, before any norm; for the
            layers that :meth:`~lvlmsal.interventions.LogitsIntervention.exits` names.
        states: what interventions keep of the prompt; see :meth:`state`.
    """

    adapter: ModelAdapter
    spans: Sequence[TokenSpans]
    first_step: int
    second: Tensor | None
    hidden: Mapping[int, Tensor]
    states: Mapping[int, Any] = field(default_factory=dict)

    def steps(self, logits: Tensor) -> Tensor:
        """Number of tokens generated before the one that each row predicts, shape (r, 1)."""
        return self.first_step + logits.new_ones(logits.shape[1]).cumsum(0)[:, None] - 1

    def state(self, owner: object) -> Any:
        """What an intervention's :meth:`prepare` returned for the prompt; ``owner`` is itself.

        Raises:
            UnsupportedError: the prompt was run outside of the intervention's scope.
        """
        return state_of(self.states, owner)
