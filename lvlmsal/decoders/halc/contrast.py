"""Which crops differ most in what they predict, and the contrasts between them."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

Divergence = Literal["code", "js"]


def divergence(logits: Tensor, other: Tensor, how: Divergence) -> float:
    """How much two predictions differ.

    With p and q their probabilities and M = (p + q) / 2::

        js    (KL(p || M) + KL(q || M)) / 2      the Jensen-Shannon divergence, ln 2 at most
        code  (KL(M || p) + KL(M || q)) / 2      without a bound

    Args:
        logits: shape (V,).
        other: likewise.
        how: which of both.

    >>> p, q = (torch.tensor(x).log() for x in ([0.9, 0.1], [0.5, 0.5]))
    >>> [round(divergence(p, q, how), 4) for how in ("js", "code")]
    [0.1017, 0.118]
    """
    first, second = logits.double().log_softmax(-1), other.double().log_softmax(-1)
    mean = torch.logaddexp(first, second) - math.log(2)
    total = 0.0
    for own in (first, second):
        one, two = (own, mean) if how == "js" else (mean, own)
        terms = one.exp() * (one - two)
        total += float(torch.where(one.isneginf(), 0.0, terms).sum()) / 2
    return total


def contrasts(logits: Tensor, pairs: int, weight: float, cut: float, how: Divergence) -> Tensor:
    """Contrasts of the pairs of crops that differ most, each in both directions.

    With f the logits of one crop of a pair and g those of the other::

        f - weight g,   only where p_f(y) >= cut max p_f

    Args:
        logits: of V tokens under each of n crops, shape (n, V).
        pairs: how many of the n (n - 1) / 2 pairs are taken.
        weight: of the crop that is taken off.
        cut: plausibility; 0 cuts nothing.
        how: see :func:`divergence`.

    Returns:
        Shape (2 pairs, V): the pair of largest divergence first, and of a pair first the one that
        takes the narrower crop off.
    """
    known = list(combinations(range(len(logits)), 2))
    apart = {pair: divergence(logits[pair[0]], logits[pair[1]], how) for pair in known}
    taken = sorted(known, key=lambda pair: -apart[pair])[:pairs]
    found = []
    for narrow, wide in taken:
        for mine, other in ((wide, narrow), (narrow, wide)):
            own = logits[mine]
            banned = own.isneginf()
            if cut:
                banned = banned | (own < own.max() + math.log(cut))
            found.append((own - weight * logits[other]).masked_fill(banned, -torch.inf))
    return torch.stack(found)
