"""Statistics of fits: planted directions, batch against stream, and the order of pairs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from lvlmsal.fits.statistics import DifferenceSubspace, MeanAndComponent, PairStatistics

LAYERS, WIDTH = 3, 16


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fitted(make: Callable[[], PairStatistics], right: Tensor, wrong: Tensor) -> dict[str, Tensor]:
    statistics = make()
    for pair in zip(right, wrong, strict=True):
        statistics.add(*pair)
    return statistics.tensors()


def planted(seed: int = 0, size: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Right and wrong states of 40 pairs, and what wrong ones have on top, (L, D)."""
    direction = normalize(drawn(LAYERS, WIDTH, seed=seed), dim=-1)
    right = drawn(40, LAYERS + 1, WIDTH, seed=seed + 1)
    noise = 0.01 * drawn(40, LAYERS + 1, WIDTH, seed=seed + 2)
    wrong = right + noise
    wrong[:, 1:] += size * direction
    return right, wrong, direction


def test_the_mean_finds_a_planted_direction() -> None:
    # long against the component, whose length is one over all layers
    right, wrong, direction = planted(size=50.0)
    found = fitted(MeanAndComponent, right, wrong)["directions"]
    assert found.shape == (LAYERS, WIDTH)
    # wrong states have it on top, so right minus wrong points against it
    assert bool((cosine_similarity(found, -direction, dim=-1) > 0.99).all())


def test_the_subspace_finds_a_planted_direction() -> None:
    right, wrong, direction = planted()
    found = fitted(lambda: DifferenceSubspace(1), right, wrong)["subspaces"]
    assert found.shape == (LAYERS, WIDTH, 1)
    assert bool((cosine_similarity(found[..., 0], direction, dim=-1).abs() > 0.99).all())


def test_mean_and_component_against_a_decomposition_of_all_rows() -> None:
    right, wrong = (drawn(12, LAYERS + 1, WIDTH, seed=seed) for seed in (5, 6))
    rows = (right - wrong).flatten(1).double()
    u, _, v = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    sign = u[u[:, 0].abs().argmax(), 0].sign()
    wanted = (rows.mean(0) + sign * v[0]).view(LAYERS + 1, WIDTH)[1:]
    found = fitted(MeanAndComponent, right, wrong)["directions"]
    torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-5)


def test_the_subspace_against_a_decomposition_of_all_rows() -> None:
    right, wrong = (drawn(30, LAYERS + 1, WIDTH, seed=seed) for seed in (7, 8))
    found = fitted(lambda: DifferenceSubspace(4), right, wrong)
    for layer in range(LAYERS):
        rows = ((right - wrong) / 2)[:, layer + 1].double()
        _, values, v = torch.linalg.svd(rows, full_matrices=False)
        basis = found["subspaces"][layer].double()
        # as projections, for signs are a choice
        torch.testing.assert_close(basis @ basis.T, v[:4].T @ v[:4], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found["singular_values"][layer].double(), values[:4])
        torch.testing.assert_close(basis.T @ basis, torch.eye(4).double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [MeanAndComponent, lambda: DifferenceSubspace(4)])
def test_the_same_pairs_give_the_same_bits_and_their_order_hardly_matters(
    make: Callable[[], PairStatistics],
) -> None:
    right, wrong = (drawn(20, LAYERS + 1, WIDTH, seed=seed) for seed in (9, 10))
    once, twice = (fitted(make, right, wrong) for _ in range(2))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    other = fitted(make, right[order], wrong[order])
    for name, tensor in once.items():
        assert torch.equal(tensor, twice[name])
        torch.testing.assert_close(other[name], tensor, rtol=0, atol=1e-6)


def test_one_pair_has_no_component() -> None:
    right, wrong = drawn(1, 2, 4, seed=0), drawn(1, 2, 4, seed=1)
    found = fitted(MeanAndComponent, right, wrong)["directions"]
    torch.testing.assert_close(found, (right - wrong)[0, 1:])
