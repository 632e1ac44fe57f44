"""Random numbers that belong to a sample and a position, not to a batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import LongTensor, Tensor
from transformers import LogitsProcessor


def token_gumbel(token: int, *, seed: int, sample_id: str, position: int) -> float:
    """Standard Gumbel noise of one candidate at one position.

    It depends on the token's id and not on its rank, so candidates of nearly the same probability
    keep their noise when rounding swaps them.

    Args:
        token: id of the candidate.
        seed: of the run.
        sample_id: of the sample within the run.
        position: of the token that is chosen.

    >>> token_gumbel(5, seed=0, sample_id="a", position=7) == token_gumbel(
    ...     5, seed=0, sample_id="a", position=7
    ... )
    True
    """
    uniform = (_digest(seed, sample_id, position, token) >> 11) + 0.5
    return -math.log(-math.log(uniform * 2.0**-53))


def vocabulary_gumbel(size: int, *, seed: int, sample_id: str, position: int) -> Tensor:
    """Standard Gumbel noise for a whole vocabulary, shape (size,), float64, on the CPU."""
    generator = torch.Generator().manual_seed(_digest(seed, sample_id, position) >> 1)
    uniform = torch.rand(size, generator=generator, dtype=torch.float64)
    tiny = torch.finfo(torch.float64).tiny
    return -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log()


def _digest(*parts: object) -> int:
    text = "\x00".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def sample_names(sample_ids: Sequence[str], rows: int) -> list[str]:
    """The ids of a batch's rows: those given, or the rows' numbers.

    Raises:
        ValueError: as many ids as samples are needed.

    >>> sample_names((), 2)
    ['0', '1']
    """
    if not sample_ids:
        return [str(row) for row in range(rows)]
    if len(sample_ids) != rows:
        raise ValueError(f"{len(sample_ids)} sample ids were given for a batch of {rows} rows")
    return list(sample_ids)


class SeededSampling(LogitsProcessor):
    """Turns greedy search into sampling whose randomness belongs to the sample.

    Adds Gumbel noise to the processed scores: the argmax is then an exact draw from their softmax.
    Put it last, after temperature, top-k and top-p.

    Args:
        seed: of the run.
        sample_ids: one for each row of the batch.
    """

    def __init__(self, seed: int, sample_ids: Sequence[str]) -> None:
        self.seed, self.sample_ids = seed, sample_ids
        self._prompt_length: int | None = None

    def __call__(self, input_ids: LongTensor, scores: Tensor) -> Tensor:
        """Scores (B, V) plus noise; the first call marks the end of the prompt."""
        if self._prompt_length is None:
            self._prompt_length = input_ids.shape[1]
        names = sample_names(self.sample_ids, scores.shape[0])
        index = input_ids.shape[1] - self._prompt_length
        noise = torch.stack(
            [
                vocabulary_gumbel(scores.shape[1], seed=self.seed, sample_id=name, position=index)
                for name in names
            ]
        )
        return scores + noise.to(scores)
