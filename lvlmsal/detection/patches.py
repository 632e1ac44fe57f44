"""What the visual tokens of the prompt say, after some layers, of a token of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.heads import inner_logits
from lvlmsal.adapters.spans import TokenSpans

CHUNK: Final = 2**24
"""Logits of visual tokens that are held at a time: 64 MB."""


@dataclass(frozen=True)
class PatchStates:
    """States of the visual tokens of a batch, all images and tiles of a sample together.

    Attributes:
        adapter: of the model.
        states: of each sample, by layer, shape (n, D).
    """

    adapter: ModelAdapter
    states: list[dict[int, Tensor]]

    @classmethod
    def of(
        cls, adapter: ModelAdapter, spans: Sequence[TokenSpans], states: Mapping[int, Tensor]
    ) -> PatchStates:
        """Those of a pass over the prompts.

        Args:
            adapter: of the model.
            spans: of the prompts.
            states: of the pass by layer, shape (B, columns, D).
        """
        found = []
        for row, sample in enumerate(spans):
            columns = [sample.pad + at for first, end in sample.images for at in range(first, end)]
            found.append({layer: values[row, columns] for layer, values in states.items()})
        return cls(adapter, found)

    def reading(
        self, name: str, layers: Sequence[int], rows: Mapping[int, Tensor], tokens: Tensor
    ) -> Tensor:
        """``patch_lens`` or ``image_similarity`` of some tokens.

        Args:
            name: which of them.
            layers: in which layers.
            rows: states of the tokens' rows by layer, shape (B, m, D), for the similarity.
            tokens: ids, shape (B, m), for the lens.

        Returns:
            Shape (B, m, layers); nan where a prompt has no image.
        """
        samples = []
        for row, held in enumerate(self.states):
            by_layer = [
                self._lens(held[layer], tokens[row])
                if name == "patch_lens"
                else _similarity(held[layer], rows[layer][row])
                for layer in layers
            ]
            samples.append(torch.stack(by_layer, dim=-1))
        return torch.stack(samples)

    def _lens(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Largest log-probability of each token over all patches."""
        if not len(states):
            return torch.full(tokens.shape, torch.nan)
        best: Tensor | None = None
        step = max(1, CHUNK // self.adapter.text_config.vocab_size)
        for first in range(0, len(states), step):
            logits = inner_logits(self.adapter, states[first : first + step], norm=True)
            logs = logits.float().log_softmax(-1)[:, tokens.to(logits.device)].amax(0)
            best = logs if best is None else torch.maximum(best, logs)
        assert best is not None  # there is at least one patch
        return best


def _similarity(patches: Tensor, rows: Tensor) -> Tensor:
    """Largest cosine of each row with a patch."""
    if not len(patches):
        return torch.full(rows.shape[:1], torch.nan)
    return (normalize(rows.float(), dim=-1) @ normalize(patches.float(), dim=-1).T).amax(-1)
