"""The reconstruction of CLVA written out, position by position."""

from __future__ import annotations

import torch
from torch import Tensor

from lvlmsal.testing.tiny import TinySample


class ByHand:
    """The equations for one unpadded sample, position by position, in lists of numbers.

    Args:
        sample: whose image positions are known.
        prompt: its length.
        parts: early, middle and deep layers.
        alpha: strength of the anchor.
        beta: strength of the noise.
        sensitive: number of sensitive heads.
    """

    def __init__(
        self,
        sample: TinySample,
        prompt: int,
        parts: tuple[list[int], list[int], list[int]],
        *,
        alpha: float,
        beta: float,
        sensitive: int,
    ) -> None:
        self.visual = [p for start, end in sample.images for p in range(start, end)]
        self.first, self.sensitive = prompt - 1, sensitive
        self.early, self.middle, self.deep = parts
        self.alpha, self.beta = alpha, beta
        self.noise: dict[int, list[float]] = {}
        self.anchor: dict[int, list[float]] = {}

    def rule(self, scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        weights = torch.softmax(scores.masked_fill(~visible, -torch.inf), dim=-1)
        if not self.visual:
            return weights
        edited = weights.clone()
        for query in range(self.first, weights.shape[2]):
            rows = [weights[0, head, query].tolist() for head in range(weights.shape[1])]
            mass = [sum(row[j] for j in self.visual) for row in rows]
            order = sorted(range(len(rows)), key=lambda head: -mass[head])
            chosen = order[: self.sensitive]
            share = [[row[j] / m for j in self.visual] for row, m in zip(rows, mass, strict=True)]
            if layer in self.early:
                others = [head for head in order if head not in chosen]
                self._show(self.noise, query, [share[head] for head in others])
            if layer in self.middle:
                self._show(self.anchor, query, [share[head] for head in chosen])
            if layer in self.deep:
                noise, anchor = _norm(self.noise[query]), _norm(self.anchor[query])
                for head in range(len(rows)):
                    pull = self.alpha if head in chosen else 0.0
                    left = [
                        max(0.0, a + pull * p - self.beta * n)
                        for a, p, n in zip(share[head], anchor, noise, strict=True)
                    ]
                    left = _norm(left) if sum(left) > 0 else share[head]
                    for j, value in zip(self.visual, left, strict=True):
                        edited[0, head, query, j] = mass[head] * value
        return edited

    def _show(self, shown: dict[int, list[float]], query: int, heads: list[list[float]]) -> None:
        for share in heads:
            before = shown.get(query, [0.0] * len(share))
            shown[query] = [a + b for a, b in zip(before, share, strict=True)]


def _norm(values: list[float]) -> list[float]:
    return [value / sum(values) for value in values]
