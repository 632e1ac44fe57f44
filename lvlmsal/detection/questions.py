"""What the question of a prompt holds, after some layers, of a token of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.heads import inner_logits
from lvlmsal.adapters.spans import TokenSpans

FLATTENED: Final = 0.1
"""What logits of the question are multiplied with before their softmax."""

NEAREST: Final = 4
"""So many tokens of the question, those that would most likely say the token, are its context."""

FARTHEST: Final = 2.0
"""Distance from the context, in lengths of the row, from which on it counts against a token."""


@dataclass(frozen=True)
class QuestionStates:
    """States of the text behind the images, and of the last row, of the prompts of a batch.

    Attributes:
        adapter: of the model.
        states: of each sample's question, by layer, shape (q, D).
        last: of each sample's last row, by layer, shape (D,).
    """

    adapter: ModelAdapter
    states: list[dict[int, Tensor]]
    last: list[dict[int, Tensor]]

    @classmethod
    def of(
        cls, adapter: ModelAdapter, spans: Sequence[TokenSpans], states: Mapping[int, Tensor]
    ) -> QuestionStates:
        """Those of a pass over the prompts.

        Args:
            adapter: of the model.
            spans: of the prompts.
            states: of the pass by layer, shape (B, columns, D).
        """
        asked, last = [], []
        for row, sample in enumerate(spans):
            first, end = (sample.pad + at for at in sample.prompt)
            asked.append({layer: values[row, first:end] for layer, values in states.items()})
            last.append({layer: values[row, -1] for layer, values in states.items()})
        return cls(adapter, asked, last)

    def reading(
        self, name: str, layers: Sequence[int], rows: Mapping[int, Tensor], tokens: Tensor
    ) -> Tensor:
        """``prompt_similarity``, ``question_lens`` or ``question_fit`` of some tokens.

        Args:
            name: which of them.
            layers: in which layers.
            rows: states of the rows that predict the tokens by layer, shape (B, m, D).
            tokens: ids, shape (B, m).

        Returns:
            Shape (B, m, layers); nan where there is no text behind the images.
        """
        samples = []
        for row, asked in enumerate(self.states):
            by_layer = []
            for layer in layers:
                mine = rows[layer][row].float()
                if name == "prompt_similarity":
                    by_layer.append(cosine_similarity(mine, self.last[row][layer].float()[None]))
                elif not len(asked[layer]):
                    by_layer.append(torch.full(tokens.shape[1:], torch.nan))
                else:
                    logs = self._logs(asked[layer], tokens[row])
                    fit = name == "question_fit"
                    by_layer.append(_fit(asked[layer], mine, logs) if fit else logs.amax(0))
            samples.append(torch.stack(by_layer, dim=-1))
        return torch.stack(samples)

    def _logs(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Flattened log-probability of each token at each token of the question, (q, m)."""
        logits = inner_logits(self.adapter, states, norm=True).float() * FLATTENED
        return logits.log_softmax(-1)[:, tokens.to(logits.device)]


def _fit(states: Tensor, rows: Tensor, logs: Tensor) -> Tensor:
    """How near each row is to the part of the question that would say its token."""
    best, places = logs.topk(min(NEAREST, len(logs)), dim=0)  # (k, m)
    context = states.float()[places].mean(0)
    distance = (rows - context).norm(dim=-1) / rows.norm(dim=-1)
    found: Tensor = (FARTHEST - distance) * best.exp().mean(0)
    return found
