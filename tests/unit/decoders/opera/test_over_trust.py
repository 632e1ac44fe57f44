"""OPERA's parts by hand: products of columns, the softmax with penalties, and when to go back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import AttentionContext
from lvlmsal.decoders.opera.over_trust import (
    VETO,
    LayerWatcher,
    Seen,
    column_sums,
    extended,
    over_trust,
    penalized,
)
from lvlmsal.decoders.opera.retrospection import Retrospection, mode

F64 = torch.float64


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def by_loops(square: list[list[float]], scale: float, factor: float, first: int) -> list[float]:
    """Products of the columns from ``first`` on."""
    size = len(square)
    products = []
    for column in range(first, size):
        product = factor
        for row in range(column, size):
            product *= scale * square[row][column]
        products.append(product)
    return products


@given(
    size=st.integers(1, 9),
    seed=st.integers(0, 999),
    scale=st.floats(0.5, 60),
    factor=st.sampled_from([1.0, 1e-7]),
    window=st.integers(1, 12),
)
@settings(deadline=None)
def test_products_of_columns(
    size: int, seed: int, scale: float, factor: float, window: int
) -> None:
    square = drawn((2, size, size), seed).tril()
    all_at_once = column_sums(square, scale)
    one_by_one = torch.zeros(2, 0, dtype=F64)
    for length in range(1, size + 1):
        one_by_one = extended(one_by_one, square[:, length - 1, :length], scale)
    torch.testing.assert_close(one_by_one, all_at_once, rtol=1e-9, atol=1e-9)
    phi, place = over_trust(all_at_once, factor=factor, window=window)
    for row in range(2):
        first = max(0, size - window)
        wanted = by_loops(square[row].tolist(), scale, factor, first)
        assert float(phi[row]) == pytest.approx(max(wanted), rel=1e-6)
        assert int(place[row]) == first + wanted.index(max(wanted))


def test_a_product_worked_out() -> None:
    square = torch.tensor([[[0.5, 0, 0], [0.25, 0.5, 0], [0.2, 0.1, 0.4]]], dtype=F64)
    # 10: columns 5 * 2.5 * 2 = 25, 5 * 1 = 5 and 4; in the last two columns 5 is the largest
    sums = column_sums(square, 10.0)
    torch.testing.assert_close(sums.exp(), torch.tensor([[25.0, 5.0, 4.0]], dtype=F64))
    assert over_trust(sums, factor=0.5, window=3)[0].item() == pytest.approx(12.5)
    phi, place = over_trust(sums, factor=0.5, window=2)
    assert phi.item() == pytest.approx(2.5)
    assert place.item() == 1


def test_endless_products_stay_finite() -> None:
    phi, _ = over_trust(torch.tensor([[5000.0], [-torch.inf]], dtype=F64), factor=1.0, window=1)
    assert bool(phi.isfinite().all())
    assert phi[1] == 0


def seen_rows(weights: Tensor, *, first: int = 0, pad: int = 0) -> Seen:
    """What the watcher keeps of weights (B, H, q, k) whose last row is the last column's."""
    batch, _, rows, keys = weights.shape
    spans = [TokenSpans(pad, ((1, 3),), 4, 4)] * batch
    columns = torch.arange(keys)
    context = AttentionContext(
        spans, columns[keys - rows :], columns, 0, 1, first_query_column=keys - rows
    )
    watcher = LayerWatcher()
    assert watcher.first_row(context) == first
    assert watcher.weights(weights, context) is weights
    return watcher.seen


def test_the_watcher_takes_the_largest_head_and_divides_by_the_row() -> None:
    weights = torch.tensor([[[[0.1, 0.4, 0.1, 0.2, 0.2]], [[0.5, 0.1, 0.1, 0.2, 0.1]]]], dtype=F64)
    seen = seen_rows(weights)
    # the largest of both heads: 0.5 0.4 0.1 0.2 0.2, in all 1.4; columns 1 and 2 are the image
    wanted = torch.tensor([[[0.2 / 1.4]]], dtype=F64)
    torch.testing.assert_close(seen.local(4), wanted)
    torch.testing.assert_close(seen.on_image()[:, -1], torch.tensor([0.5 / 1.4], dtype=F64))
    seen = seen_rows(torch.cat([weights, torch.zeros(1, 2, 1, 5, dtype=F64)], dim=2), first=1)
    assert bool((seen.local(0)[:, 1] == 0).all())


def test_the_watcher_skips_the_rows_of_the_prompt() -> None:
    whole = drawn((1, 2, 6, 6), 0)
    seen_rows(whole, first=4)
    seen_rows(whole, first=5, pad=1)
    with pytest.raises(RuntimeError, match="no generated token"):
        LayerWatcher().seen.local(0)
    with pytest.raises(RuntimeError, match="no generated token"):
        LayerWatcher().seen.on_image()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near_float64(dtype: torch.dtype) -> None:
    """Where a product in float16 is infinite."""
    rows = 16
    weights = drawn((1, 2, rows, rows), 3).tril() + 0.3 * torch.eye(rows, dtype=F64)
    weights[..., 0] += 0.5
    weights = (weights / weights.sum(-1, keepdim=True)).to(dtype)
    phi, place = over_trust(
        column_sums(seen_rows(weights, first=4).local(0), 50.0), factor=1e-7, window=512
    )
    exact = weights.double().amax(1)[0]
    exact = exact / exact.sum(-1, keepdim=True)
    wanted = by_loops(exact.tolist(), 50.0, 1e-7, 0)
    assert phi.item() == pytest.approx(max(wanted), rel=1e-4)
    assert place.item() == wanted.index(max(wanted)) == 0
    if dtype == torch.float16:
        assert bool((50 * exact.half()[:, 0]).prod().isinf())


@given(seed=st.integers(0, 999), normalize=st.sampled_from(["candidates", "vocabulary"]))
@settings(deadline=None)
def test_the_softmax_with_penalties(seed: int, normalize: Any) -> None:
    logits = 4 * drawn((2, 8), seed)
    scores = logits.log_softmax(-1)
    tokens = scores.topk(3).indices
    penalties = 3 * drawn((2, 3), seed + 1) - 1
    found = penalized(scores, tokens, penalties, normalize)
    for row in range(2):
        chosen = tokens[row].tolist()
        changed = dict(enumerate(logits[row].tolist()))
        for token, penalty in zip(chosen, penalties[row].tolist(), strict=True):
            changed[token] -= penalty
        over = chosen if normalize == "candidates" else list(changed)
        total = sum(math.exp(changed[token]) for token in over)
        wanted = [math.exp(changed[token]) / total for token in chosen]
        assert found[row].exp().tolist() == pytest.approx(wanted)


def test_bans_and_vetoes() -> None:
    scores = torch.tensor([[0.6, 0.4, 0.0], [0.0, 0.0, 0.0]], dtype=F64).log()
    tokens = torch.tensor([[0, 1, 2], [0, 1, 2]])
    large = torch.tensor([[1e200, 1e100, 0.0], [1.0, 2.0, 3.0]], dtype=F64)
    found = penalized(scores, tokens, large, "candidates")
    assert found[0].tolist() == [pytest.approx(-VETO + math.log(1.5)), 0.0, -math.inf]
    assert found[1].tolist() == [-math.inf] * 3
    found = penalized(scores, tokens, large, "vocabulary")
    assert found[0, 0] - found[0, 1] == pytest.approx(math.log(1.5))
    assert found[1].tolist() == [-math.inf] * 3


def test_no_penalty_leaves_the_vocabulary_as_it_is() -> None:
    scores = drawn((3, 20), 0).log_softmax(-1)
    tokens = scores.topk(4).indices
    found = penalized(scores, tokens, torch.zeros(3, 4, dtype=F64), "vocabulary")
    assert torch.equal(found, scores.gather(1, tokens))


def retrospection(**options: Any) -> Retrospection:
    given: dict[str, Any] = {
        "threshold": 2,
        "overlap": "code",
        "window": 100,
        "limit": 2,
        "earliest": 0,
        "monotone": False,
    }
    return Retrospection(**{**given, **options})


def history(*beams: list[int]) -> Tensor:
    return torch.tensor(beams)


def test_the_mode_is_the_smallest_of_equals() -> None:
    assert mode([4, 7, 7, 4, 1]) == 4
    assert mode([7]) == 7


def test_the_code_counts_more_than_r_in_every_beam() -> None:
    three = [0, 1, 1, 2, 1, 0, 1]
    assert retrospection(threshold=3).target(history(three, three)) == 2
    assert retrospection(threshold=4).target(history(three, three)) is None
    fewer = [0, 2, 2, 2, 1, 0, 1]
    assert retrospection(threshold=3).target(history(three, fewer)) is None
    # s is what most beams have now, and 1 of a beam that has another now counts as well
    other = [0, 1, 1, 1, 1, 0, 3]
    assert retrospection(threshold=3).target(history(three, other, three)) == 2
    assert retrospection(threshold=3).target(history(other, other, three)) is None
    assert retrospection(threshold=None).target(history(three, three)) is None


def test_the_paper_counts_at_least_r_in_the_window() -> None:
    places = history([1, 1, 1, 2, 2, 2, 0], [1, 1, 1, 2, 2, 2, 3])
    paper: dict[str, Any] = {"overlap": "paper", "threshold": 3}
    assert retrospection(**paper).target(places) == 2  # 1 and 2 are as frequent: the smaller one
    assert retrospection(**paper, window=4).target(places) == 3
    assert retrospection(overlap="paper", threshold=4).target(places) is None
    assert retrospection(overlap="paper", threshold=3, window=3).target(places) is None
    uneven = history([2, 2, 2, 2, 2, 1], [1, 2, 1, 2, 1, 0])
    assert retrospection(overlap="paper", threshold=2).target(uneven) == 3
    assert retrospection(**paper).target(uneven) is None


def test_a_position_is_gone_back_to_so_often_and_then_the_one_before() -> None:
    places = history([3] * 9)
    own = retrospection()
    assert [own.target(places) for _ in range(5)] == [4, 4, 3, 3, None]
    assert own.times == {3: 2, 4: 2}
    assert retrospection(limit=0).target(places) is None


def test_the_next_token_must_have_been_chosen() -> None:
    # after t tokens, the last column of the history is position t: nothing is chosen there yet
    own = retrospection(threshold=1)
    assert own.target(history([2, 0, 2])) is None
    assert own.target(history([2, 0, 2, 2])) == 2
    assert own.target(history([2, 0, 2, 2, 2])) == 3


def test_early_summaries_and_earlier_positions() -> None:
    places = history([3] * 9)
    assert retrospection(earliest=4).target(places) is None
    assert retrospection(earliest=3).target(places) == 4
    before = history([2] * 9)
    for monotone in (False, True):
        own = retrospection(monotone=monotone)
        assert own.target(places) == 4
        assert own.target(before) == (None if monotone else 3)
        assert own.target(places) == 4


@given(data=st.data(), overlap=st.sampled_from(["code", "paper"]), limit=st.integers(0, 3))
@settings(deadline=None)
def test_it_ends(data: st.DataObject, overlap: str, limit: int) -> None:
    """Whatever the places are: each position is gone back to so often, so an answer gets longer."""
    length, rollbacks, steps = 10, 0, 0
    own = retrospection(threshold=1, overlap=overlap, limit=limit)
    places = torch.zeros(2, 0, dtype=torch.long)
    while places.shape[1] < length:
        steps += 1
        new = data.draw(st.integers(0, min(2, places.shape[1])))
        longer = torch.cat([places, torch.full((2, 1), new)], dim=1)
        position = own.target(longer)
        if position is None:
            places = longer
        else:
            assert position < longer.shape[1] - 1
            rollbacks += 1
            places = longer[:, : position + 1]
    assert rollbacks == sum(own.times.values()) <= limit * length
    assert steps <= length * (1 + rollbacks)
