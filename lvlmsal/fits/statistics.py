"""What fits of directions add up over pairs of answers."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class PairStatistics(Protocol):
    """What a method keeps of the states of pairs."""

    def add(self, right: Tensor, wrong: Tensor) -> None:
        """Take in the states of one pair, each (L + 1, D)."""

    def tensors(self) -> dict[str, Tensor]:
        """What the method is given, float32."""


class MeanAndComponent:
    """The mean of right minus wrong plus the first principal component of these differences.

    With z_i the differences (L + 1, D) as one vector, Z the centered ones below each other and
    Z = U S V' their singular value decomposition::

        direction = mean z + v_1,   the sign of v_1 so that the largest |u_1| is positive

    which is then cut into layers. The mean keeps its length, v_1 has length one. Where the centered
    differences vanish (one pair, or equal ones) there is no component.

    Each pair takes 4 (L + 1) D bytes; the decomposition is of the matrix of their products.
    """

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def add(self, right: Tensor, wrong: Tensor) -> None:
        """Take in the states of one pair, each (L + 1, D)."""
        self._rows.append(right.float() - wrong.float())

    def tensors(self) -> dict[str, Tensor]:
        """``directions`` (L, D); the entry of the embeddings is left out."""
        rows = torch.stack(self._rows).flatten(1).double()
        mean = rows.mean(0)
        centered = rows - mean
        direction = mean.clone()
        values, vectors = torch.linalg.eigh(centered @ centered.T)
        if float(values[-1]) > 1e-18 * float(rows.square().sum()):
            u = vectors[:, -1]
            u = u * u[u.abs().argmax()].sign()
            direction += torch.nn.functional.normalize(u @ centered, dim=0)
        return {"directions": direction.view(self._rows[0].shape)[1:].float()}


class DifferenceSubspace:
    """The directions in which (right - wrong) / 2 is largest, in each layer by itself.

    The right singular vectors of the differences of a layer below each other, not centered; they
    are read off the sum of d d', (L, D, D) in float64, which does not grow with the pairs.

    Args:
        rank: how many are kept, the largest first.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._moments: Tensor | None = None

    def add(self, right: Tensor, wrong: Tensor) -> None:
        """Take in the states of one pair, each (L + 1, D)."""
        half = (right[1:].double() - wrong[1:].double()) / 2
        moment = half[:, :, None] * half[:, None, :]
        self._moments = moment if self._moments is None else self._moments.add_(moment)

    def tensors(self) -> dict[str, Tensor]:
        """``subspaces`` (L, D, rank), orthonormal columns, and their ``singular_values``."""
        assert self._moments is not None  # a fit without pairs is refused
        values, vectors = torch.linalg.eigh(self._moments)
        values, vectors = values.flip(-1)[:, : self._rank], vectors.flip(-1)[..., : self._rank]
        largest = vectors.abs().argmax(dim=1, keepdim=True)
        vectors = vectors * vectors.gather(1, largest).sign()
        found = {"subspaces": vectors, "singular_values": values.clamp(min=0).sqrt()}
        return {name: tensor.float().contiguous() for name, tensor in found.items()}
