"""Candidates, their order and the random numbers behind it."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.decoders.randomness import (
    SeededSampling,
    sample_names,
    token_gumbel,
    vocabulary_gumbel,
)
from lvlmsal.decoders.sgrs.candidates import ordered_candidates

pytestmark = pytest.mark.slow

PROBABILITIES = (0.4, 0.25, 0.2, 0.1, 0.05)


def order(scores: torch.Tensor, **options: object) -> list[list[int]]:
    rows = scores.shape[0]
    given_options: dict[str, object] = {
        "k": 5,
        "temperature": 1.0,
        "plausibility": 0.0,
        "seed": 0,
        "sample_ids": [str(row) for row in range(rows)],
        "positions": [0] * rows,
    }
    found = ordered_candidates(scores, **{**given_options, **options})  # type: ignore[arg-type]
    temperature = float({**given_options, **options}["temperature"]) or 1.0  # type: ignore[arg-type]
    wanted = torch.softmax(scores.double() / temperature, dim=-1)
    for row, of_sample in enumerate(found):
        for token, probability in of_sample.items():
            assert probability == pytest.approx(float(wanted[row, token]), rel=1e-9)
    return [list(of_sample) for of_sample in found]


def chi_square(counts: Counter[tuple[int, ...]], exact: dict[tuple[int, ...], float]) -> float:
    total = sum(counts.values())
    assert set(counts) <= set(exact)
    return sum((counts[key] - total * p) ** 2 / (total * p) for key, p in exact.items())


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_order_is_sampling_without_replacement(temperature: float) -> None:
    """The first two candidates against the exact probability of every ordered pair."""
    logits = torch.tensor([PROBABILITIES]).log()
    draws = 8_000
    walked = order(
        logits.expand(draws, -1),
        temperature=temperature,
        seed=11,
        sample_ids=[f"sample {index}" for index in range(draws)],
        positions=[7] * draws,
    )
    assert all(sorted(row) == [0, 1, 2, 3, 4] for row in walked)
    weights = [p ** (1 / temperature) for p in PROBABILITIES]
    p = [weight / sum(weights) for weight in weights]
    exact = {(a, b): p[a] * p[b] / (1 - p[a]) for a, b in itertools.permutations(range(5), 2)}
    statistic = chi_square(Counter((row[0], row[1]) for row in walked), exact)
    assert statistic < 43.82  # the 99.9 % point of chi-square with 19 degrees of freedom


def test_a_uniform_order_is_a_shuffle_of_the_same_candidates() -> None:
    """Every ordered pair as often as any other; the probabilities told are the model's."""
    logits = torch.tensor([[*PROBABILITIES, 0.001]]).log()
    draws = 8_000
    walked = order(
        logits.expand(draws, -1),
        order="uniform",
        plausibility=0.01,
        k=6,
        seed=11,
        sample_ids=[f"sample {index}" for index in range(draws)],
        positions=[7] * draws,
    )
    assert all(sorted(row) == [0, 1, 2, 3, 4] for row in walked)
    exact = dict.fromkeys(itertools.permutations(range(5), 2), 1 / 20)
    statistic = chi_square(Counter((row[0], row[1]) for row in walked), exact)
    assert statistic < 43.82  # the 99.9 % point of chi-square with 19 degrees of freedom


def test_the_cut_to_k_renormalises() -> None:
    logits = torch.tensor([PROBABILITIES]).log()
    walked = order(
        logits.expand(10_000, -1),
        k=2,
        sample_ids=[str(index) for index in range(10_000)],
        positions=[0] * 10_000,
    )
    firsts = Counter((row[0],) for row in walked)
    assert chi_square(firsts, {(0,): 0.4 / 0.65, (1,): 0.25 / 0.65}) < 10.83


def test_seeded_sampling_draws_from_the_softmax() -> None:
    draws = 10_000
    scores = torch.tensor([PROBABILITIES]).log().expand(draws, -1)
    noisy = SeededSampling(5, [str(index) for index in range(draws)])(
        torch.zeros(draws, 3, dtype=torch.long), scores
    )
    counts = Counter((int(token),) for token in noisy.argmax(-1))
    exact = {(index,): p for index, p in enumerate(PROBABILITIES)}
    assert chi_square(counts, exact) < 18.47  # four degrees of freedom


@given(
    scores=st.lists(st.floats(-9, 9, width=32), min_size=2, max_size=9, unique=True),
    k=st.integers(1, 10),
    plausibility=st.floats(0, 1),
    temperature=st.floats(0.05, 3),
)
def test_who_is_a_candidate(
    scores: list[float], k: int, plausibility: float, temperature: float
) -> None:
    found = order(torch.tensor([scores]), k=k, plausibility=plausibility, temperature=temperature)[
        0
    ]
    ranked = sorted(range(len(scores)), key=lambda index: -scores[index])[:k]
    best = max(scores)
    shares = {token: math.exp((scores[token] - best) / temperature) for token in ranked}
    assert len(found) == len(set(found))
    assert ranked[0] in found
    for token in ranked:
        if abs(shares[token] - plausibility) > 1e-6:
            assert (token in found) == (shares[token] >= plausibility)
    assert set(found) <= set(ranked)


def test_temperature_zero_walks_by_probability() -> None:
    assert order(torch.tensor([[1.0, 4.0, 2.0, 3.0]]), temperature=0.0, k=3) == [[1, 3, 2]]


def test_a_banned_token_is_no_candidate() -> None:
    scores = torch.tensor([[1.0, -math.inf, 2.0, -math.inf]])
    assert sorted(order(scores, k=4)[0]) == [0, 2]


def test_the_order_hangs_on_seed_sample_and_position_and_not_on_the_batch() -> None:
    scores = torch.tensor([[1.0, 1.1, 0.9, 1.05, 0.95]])
    names, places = [f"s{index}" for index in range(30)], list(range(30))
    together = order(scores.expand(30, -1), sample_ids=names, positions=places)
    alone = [
        order(scores, sample_ids=[name], positions=[place])[0]
        for name, place in zip(names, places, strict=True)
    ]
    assert together == alone
    assert len({tuple(row) for row in together}) > 10
    fixed = order(scores.expand(30, -1), sample_ids=names, positions=[0] * 30)
    assert len({tuple(row) for row in fixed}) > 10
    other = order(scores.expand(30, -1), sample_ids=names, positions=places, seed=1)
    assert other != together


def test_noise_is_standard_gumbel() -> None:
    """Kolmogorov-Smirnov against exp(-exp(-x)), for both generators; 1.95 is the 0.1 % point."""
    n = 4000
    single = [
        token_gumbel(index % 50, seed=3, sample_id=f"{index % 7}", position=index)
        for index in range(n)
    ]
    whole = vocabulary_gumbel(n, seed=3, sample_id="a", position=1).tolist()
    for values in (single, whole):
        heights = [math.exp(-math.exp(-value)) for value in sorted(values)]
        gap = max(abs(height - (rank + 0.5) / n) for rank, height in enumerate(heights))
        assert gap * math.sqrt(n) < 1.95


def test_parts_of_a_key_do_not_run_into_each_other() -> None:
    one = token_gumbel(3, seed=1, sample_id="1", position=23)
    assert one != token_gumbel(3, seed=1, sample_id="12", position=3)
    assert one != token_gumbel(3, seed=11, sample_id="", position=23)


def test_as_many_names_as_rows() -> None:
    assert sample_names((), 3) == ["0", "1", "2"]
    with pytest.raises(ValueError, match="2 sample ids were given for a batch of 3"):
        sample_names(["a", "b"], 3)
