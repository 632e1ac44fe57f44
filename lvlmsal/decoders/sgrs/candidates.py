"""The candidates of a position and the order in which they are tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lvlmsal.decoders.randomness import token_gumbel

OrderName = Literal["probability", "uniform"]


def ordered_candidates(
    scores: Tensor,
    *,
    k: int,
    temperature: float,
    plausibility: float,
    seed: int,
    sample_ids: Sequence[str],
    positions: Sequence[int],
    order: OrderName = "probability",
) -> list[dict[int, float]]:
    """Sampling without replacement from the top K, all draws made at once.

    Walking the candidates by descending log p + Gumbel noise is exactly sampling without
    replacement, renormalized after each rejection.

    Args:
        scores: processed logits, shape (B, V); -inf bans a token.
        k: size of C.
        temperature: of the softmax; 0 walks in order of probability.
        plausibility: candidates below this share of the highest probability are left out.
        seed: of the run.
        sample_ids: one for each sample.
        positions: of the token to be chosen, one for each sample.
        order: ``"uniform"`` walks by the noise alone, whatever the probabilities.

    Returns:
        For each sample its candidates in the order in which they are tried, each with its
        probability under softmax(scores / temperature) (at temperature 0, under softmax(scores)).

    >>> found = ordered_candidates(
    ...     torch.tensor([[1.0, 3.0, 2.0]]), k=2, temperature=0.0, plausibility=0.0,
    ...     seed=0, sample_ids=["a"], positions=[0],
    ... )
    >>> [{token: round(p, 2) for token, p in row.items()} for row in found]
    [{1: 0.67, 2: 0.24}]
    """
    divisor = temperature if temperature > 0 else 1.0
    logs = torch.log_softmax(scores.double() / divisor, dim=-1)
    # Ranked by the scores themselves: normalizing can round two of them to one.
    tokens_by_rank = scores.topk(min(k, scores.shape[-1]), dim=-1).indices
    values_by_rank = logs.gather(-1, tokens_by_rank)
    allowed = torch.isfinite(values_by_rank)
    if plausibility > 0:
        allowed &= values_by_rank >= values_by_rank[:, :1] + math.log(plausibility)
    found = []
    for row, (values, tokens, kept) in enumerate(
        zip(values_by_rank.tolist(), tokens_by_rank.tolist(), allowed.tolist(), strict=True)
    ):
        keys, probabilities = {}, {}
        for value, token, keep in zip(values, tokens, kept, strict=True):
            if keep:
                noise = 0.0
                if temperature > 0:
                    noise = token_gumbel(
                        token, seed=seed, sample_id=sample_ids[row], position=positions[row]
                    )
                keys[token] = noise if order == "uniform" else value + noise
                probabilities[token] = math.exp(value)
        walked = sorted(keys, key=keys.__getitem__, reverse=True)
        found.append({token: probabilities[token] for token in walked})
    return found
