"""DoLa worked out token by token, and the method on logits that stand there ready."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from lvlmsal.attention.context import LogitsContext
from lvlmsal.interventions.dola import DoLa


def log_probabilities(logits: list[float]) -> list[float]:
    highest = max(logits)
    total = math.fsum(math.exp(value - highest) for value in logits)
    return [value - highest - math.log(total) for value in logits]


def divergence(mature: list[float], early: list[float], kind: str) -> float:
    """From log-probabilities, one token after the other."""
    terms = []
    for left, right in zip(mature, early, strict=True):
        middle = (math.exp(left) + math.exp(right)) / 2
        if middle == 0:
            continue
        for value in (left, right):
            if kind == "kl_m_q":
                terms.append(middle * (math.log(middle) - value))
            elif math.exp(value) > 0:
                terms.append(math.exp(value) * (value - math.log(middle)))
    return math.fsum(terms) / 2


def contrast(
    mature: list[float], exits: list[list[float]], kind: str, cut: float, alpha: float
) -> tuple[list[float], int]:
    """The edited row, and which of the exits (logits) was chosen."""
    final = log_probabilities(mature)
    early = [log_probabilities(row) for row in exits]
    found = [divergence(final, row, kind) for row in early]
    chosen = found.index(max(found))
    lowest = max(final) + math.log(cut) if cut else -math.inf
    return [
        left - alpha * right if left >= lowest else -math.inf
        for left, right in zip(final, early[chosen], strict=True)
    ], chosen


def edited(
    mature: list[list[float]], exits: dict[int, list[list[float]]], dola: DoLa, **model: Any
) -> Tensor:
    """Edited rows (B, V) of a model whose layers hold logits already."""
    parts: dict[str, Any] = {
        "num_layers": 8,
        "text_config": None,
        "lm_head": nn.Identity(),
        "model": SimpleNamespace(get_input_embeddings=nn.Identity),
    }
    adapter: Any = SimpleNamespace(**{**parts, **model})
    hidden = {layer: torch.tensor(rows)[:, None] for layer, rows in exits.items()}
    context = LogitsContext(adapter, (), 0, None, hidden)
    return dola.logits(torch.tensor(mature)[:, None], context)[:, 0]
