"""What inner layers would say: log-probabilities of a few tokens, read off a predicting row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.heads import inner_logits


class Lens:
    """The logit lens with the final norm, on a few rows of the output projection.

    Of a state h that leaves an inner layer, and z = W norm(h)::

        lens(c) = z_c - log sum over R and c of exp z

    R are the tokens with which judged words begin in running text: a few dozen to a few hundred
    rows of W, never the vocabulary. What is normalized over matters, since an inner layer's logits
    have no common zero. With R wrong words of the shipped models are ranked as with the whole
    softmax, and a word's value does not depend on what else was a candidate; raw logits lose most
    of it (docs/guided.md has the numbers).

    Args:
        adapter: of the model.
        tokens: R.

    Raises:
        ValueError: there are none.
        UnsupportedError: the decoder has no final norm.
    """

    def __init__(self, adapter: ModelAdapter, tokens: Sequence[int]) -> None:
        if not tokens:
            raise ValueError("a lens needs the tokens that it compares, got none")
        self.adapter, self.tokens = adapter, sorted(set(tokens))

    def log_probabilities(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Of some tokens, read off the states that leave an inner layer.

        Args:
            states: before the final norm, shape (..., D).
            tokens: ids, shape (..., K); dimensions before the last one are those of the states.

        Returns:
            float32 or better, shape (..., K).

        >>> from lvlmsal.adapters import adapter_for
        >>> from lvlmsal.tiny.models import tiny_model
        >>> lens = Lens(adapter_for(tiny_model("llava")), [70, 71])
        >>> found = lens.log_probabilities(torch.ones(1, 32), torch.tensor([[70, 71]]))
        >>> round(found.exp().sum().item(), 4)
        1.0
        """
        others = sorted(set(tokens.flatten().tolist()).difference(self.tokens))
        rows = torch.tensor([*self.tokens, *others], device=tokens.device)
        logits = inner_logits(self.adapter, states, norm=True, tokens=rows)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        order = rows.argsort()
        places = order[torch.searchsorted(rows[order], tokens.contiguous())].to(logits.device)
        wanted = logits.gather(-1, places)
        total = logits[..., : len(self.tokens)].logsumexp(-1, keepdim=True)
        outside = (places >= len(self.tokens)).expand_as(wanted)
        return wanted - torch.where(outside, torch.logaddexp(total, wanted), total)
