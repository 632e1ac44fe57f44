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

GROUNDS: Final = 32
"""So many visual tokens, those that would most likely say a token, are what it rests on."""

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
        """``patch_lens``, ``image_similarity`` or ``grounded_similarity`` of some tokens.

        Args:
            name: which of them.
            layers: in which layers.
            rows: states of the tokens' rows by layer, shape (B, m, D), for the similarities.
            tokens: ids, shape (B, m), for the lens and for what a token rests on.

        Returns:
            Shape (B, m, layers); nan where a prompt has no image.
        """
        samples = []
        for row, held in enumerate(self.states):
            by_layer = [
                self._of_layer(name, held[layer], rows[layer][row], tokens[row]) for layer in layers
            ]
            samples.append(torch.stack(by_layer, dim=-1))
        return torch.stack(samples)

    def _of_layer(self, name: str, patches: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
        if not len(patches):
            return torch.full(tokens.shape, torch.nan)
        if name == "patch_lens":
            return self._logs(patches, tokens).amax(0)
        cosines = normalize(rows.float(), dim=-1) @ normalize(patches.float(), dim=-1).T
        if name == "image_similarity":
            return cosines.amax(-1)
        places = self._logs(patches, tokens).topk(min(GROUNDS, len(patches)), dim=0).indices
        return cosines.gather(-1, places.T.to(cosines.device)).mean(-1)

    def _logs(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Log-probability of each token at each patch, shape (n, m)."""
        step = max(1, CHUNK // self.adapter.text_config.vocab_size)
        found = []
        for first in range(0, len(states), step):
            logits = inner_logits(self.adapter, states[first : first + step], norm=True)
            found.append(logits.float().log_softmax(-1)[:, tokens.to(logits.device)])
        return torch.cat(found)
