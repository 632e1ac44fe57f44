"""DoLa on distributions of a few tokens: which layer is chosen, and what is left of the logits."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lvlmsal.attention.context import LogitsContext
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.dola import DoLa
from lvlmsal.registry import CATALOG, INTERVENTIONS
from tests.unit.interventions.dola_by_hand import contrast, divergence, edited, log_probabilities


def test_two_tokens_by_hand() -> None:
    """p = (3/4, 1/4), q = (1/4, 3/4): m = (1/2, 1/2), F - B = (ln 3, -ln 3)."""
    p, q = [[math.log(3), 0.0]], [[0.0, math.log(3)]]
    found = edited(p, {3: q}, DoLa(candidates=[3], relative_top=0.0))
    assert torch.allclose(found, torch.tensor([[math.log(3), -math.log(3)]]))
    half = edited(p, {3: q}, DoLa(candidates=[3], relative_top=0.0, alpha=0.5))
    wanted = [math.log(0.75) - math.log(0.25) / 2, math.log(0.25) - math.log(0.75) / 2]
    assert torch.allclose(half, torch.tensor([wanted]))
    # 1/4 is just above a third of 3/4 and below a half of it
    assert edited(p, {3: q}, DoLa(candidates=[3], relative_top=0.33)).isfinite().all()
    cut = edited(p, {3: q}, DoLa(candidates=[3], relative_top=0.5))
    assert torch.allclose(cut, torch.tensor([[math.log(3), -torch.inf]]))
    only = edited(p, {}, DoLa(alpha=0.0, relative_top=0.5))
    assert torch.allclose(only, torch.tensor([[math.log(0.75), -torch.inf]]))


def test_the_divergences_by_hand() -> None:
    """Of p = (3/4, 1/4) and q = (1/4, 3/4) with m = (1/2, 1/2); both terms of each are the same.

    KL(m|p) = (ln(2/3) + ln 2) / 2 = ln(4/3) / 2, and
    KL(p|m) = 3/4 ln(3/2) + 1/4 ln(1/2) = 3/4 ln 3 - ln 2.
    """
    p, q = [math.log(0.75), math.log(0.25)], [math.log(0.25), math.log(0.75)]
    assert divergence(p, q, "kl_m_q") == pytest.approx(math.log(4 / 3) / 2)
    assert divergence(p, q, "jsd") == pytest.approx(0.75 * math.log(3) - math.log(2))


def test_each_row_of_a_batch_has_its_own_layer() -> None:
    """The mean over the batch would choose layer 4 for both."""
    sure, unsure, other = [4.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-9.0, 9.0, 0.0]
    mature = [sure, unsure]
    exits = {2: [unsure, unsure], 4: [sure, other]}
    found = edited(mature, exits, DoLa(candidates=[2, 4], relative_top=0.0))
    wanted = [
        torch.tensor(log_probabilities(left)) - torch.tensor(log_probabilities(right))
        for left, right in ((sure, unsure), (unsure, other))
    ]
    assert torch.allclose(found, torch.stack(wanted))
    shared = [
        sum(
            divergence(log_probabilities(left), log_probabilities(right), "kl_m_q")
            for left, right in zip(mature, early, strict=True)
        )
        for early in exits.values()
    ]
    assert shared[1] > shared[0]


def test_the_two_divergences_choose_different_layers() -> None:
    """A layer that all but rules a token out is far by KL(m|q), and near by Jensen-Shannon."""
    mature = [[math.log(0.6), math.log(0.2), math.log(0.2)]]
    away = [[math.log(0.02), math.log(0.49), math.log(0.49)]]
    peaked = [[math.log(0.75), math.log(0.25), -70.0]]
    exits = {1: away, 5: peaked}
    dola = DoLa(candidates=[1, 5], relative_top=0.0)
    found = edited(mature, exits, dola)
    assert torch.allclose(found, torch.tensor(mature) - torch.tensor(peaked), atol=1e-5)
    found = edited(mature, exits, replace(dola, divergence="jsd"))
    assert torch.allclose(found, torch.tensor(mature) - torch.tensor(away), atol=1e-5)


def test_the_mean_over_the_vocabulary_does_not_vanish() -> None:
    """In float16 both averages are 0 and the first layer would win; the second one is farther."""
    generator = torch.Generator().manual_seed(0)
    mature = torch.randn(1, 32000, generator=generator).half()
    noise = torch.randn(1, 32000, generator=generator)
    near, farther = (mature + 0.02 * noise).half(), (mature + 0.04 * noise).half()
    for early in (near, farther):
        rows = [log_probabilities(row[0].tolist()) for row in (mature, early)]
        average = divergence(rows[0], rows[1], "kl_m_q") / 32000
        assert torch.tensor(average, dtype=torch.float16) == 0 < average
    exits = {2: near[:, None], 6: farther[:, None]}
    adapter: Any = SimpleNamespace(
        num_layers=8,
        text_config=None,
        lm_head=nn.Identity(),
        model=SimpleNamespace(get_input_embeddings=nn.Identity),
    )
    context = LogitsContext(adapter, (), 0, None, exits)
    found = DoLa(candidates=[2, 6], relative_top=0.0).logits(mature[:, None].float(), context)
    assert found.dtype == torch.float32
    wanted = mature.float().log_softmax(-1) - farther.float().log_softmax(-1)
    assert torch.allclose(found[:, 0], wanted, atol=1e-5)


@given(
    st.lists(st.floats(-30, 30), min_size=6, max_size=6),
    st.lists(st.lists(st.floats(-30, 30), min_size=6, max_size=6), min_size=1, max_size=4),
    st.sampled_from(["kl_m_q", "jsd"]),
    st.sampled_from([0.0, 0.1, 1.0]),
)
def test_any_distributions_are_those_of_the_definition(
    mature: list[float], exits: list[list[float]], kind: Any, cut: float
) -> None:
    found = edited(
        [mature],
        {layer: [row] for layer, row in enumerate(exits)},
        DoLa(candidates=list(range(len(exits))), divergence=kind, relative_top=cut),
    )[0]
    final = log_probabilities(mature)
    far = [divergence(final, log_probabilities(row), kind) for row in exits]
    possible = [
        torch.tensor(contrast(mature, [row], kind, cut, 1.0)[0])
        for row, distance in zip(exits, far, strict=True)
        if distance >= max(far) - 1e-4  # any of those that rounding cannot distinguish
    ]
    # A logit right at the cut may fall to either side.
    exact = torch.tensor(final, dtype=torch.float64)  # float32 takes near ties for ties
    edge = exact - exact.max() - (math.log(cut) if cut else -math.inf)
    clear = (edge.abs() > 1e-4) | (exact == exact.max())
    assert any(torch.allclose(found[clear], row[clear], rtol=1e-4, atol=1e-4) for row in possible)
    assert found.isfinite().any()


@pytest.mark.parametrize("kind", ["kl_m_q", "jsd"])
def test_tokens_that_an_edit_before_has_banned_stay_banned_and_count_for_nothing(kind: Any) -> None:
    """Layer 1 is far away on the banned token only."""
    mature, same, other = [0.0, 1.0, -torch.inf], [0.0, 1.0, 1.5], [2.0, -2.0, -9.0]
    dola = DoLa(candidates=[1, 2], divergence=kind, relative_top=0.0)
    found = edited([mature], {1: [same], 2: [other]}, dola)[0]
    final = log_probabilities(mature[:2])
    exits = [log_probabilities(row)[:2] for row in (same, other)]
    far = [divergence(final, row, kind) for row in exits]
    assert far[0] < far[1]
    assert torch.allclose(found[:2], torch.tensor(final) - torch.tensor(exits[1]))
    assert found[2] == -torch.inf


@pytest.mark.parametrize(
    ("depth", "tied", "low", "high"),
    [
        (1, False, [0], [0]),
        (1, True, [0], [0]),
        (2, False, [0], [1]),
        (2, True, [1], [1]),
        (3, True, [1], [1]),
        (4, True, [2], [2]),
        (7, False, [0, 2], [3, 5]),
        (32, False, [0, 2, 4, 6, 8, 10, 12, 14], [16, 18, 20, 22, 24, 26, 28, 30]),
        (28, True, [2, 4, 6, 8, 10, 12], [14, 16, 18, 20, 22, 24, 26]),
        (40, False, list(range(0, 20, 2)), list(range(20, 40, 2))),
        (64, False, list(range(0, 20, 2)), list(range(44, 64, 2))),
        (80, True, list(range(2, 20, 2)), list(range(60, 80, 2))),
    ],
)
def test_buckets_go_by_the_depth(depth: int, tied: bool, low: list[int], high: list[int]) -> None:
    assert DoLa(candidates="low").layers_of(depth, tied=tied) == low
    assert DoLa(candidates="high").layers_of(depth, tied=tied) == high
    for bucket in ("low", "high"):
        dola = DoLa(candidates=bucket)
        assert {*dola.layers_of(depth, tied=tied)} <= {*dola.exits(depth)} <= {*range(depth)}


def test_the_cut_alone_reads_no_layer() -> None:
    assert DoLa(alpha=0.0).exits(32) == ()
    assert not DoLa(alpha=0.0).is_identity
    assert not DoLa(relative_top=0.0).is_identity
    assert DoLa(alpha=0.0, relative_top=0.0).is_identity


class Wide(nn.Linear):
    """A projection kept in float32 under layers of bfloat16."""

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states.float())


class Whole(nn.Module):
    """A projection with quantized weights, which takes what the layers give."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        values = torch.arange(rows * columns).reshape(rows, columns) % 7 - 3
        self.weight = nn.Parameter(values.to(torch.int8), requires_grad=False)

    def forward(self, states: Tensor) -> Tensor:
        assert states.is_floating_point()
        return states @ self.weight.to(states.dtype).T


HEADS = [nn.Linear(4, 9, bias=False), Wide(4, 9, bias=False), Whole(9, 4)]


@pytest.mark.parametrize("head", HEADS)
def test_states_come_in_the_dtype_that_the_projection_takes(head: nn.Module) -> None:
    states = torch.tensor([[[1.0, -2.0, 0.5, 3.0]]], dtype=torch.bfloat16)
    adapter: Any = SimpleNamespace(
        num_layers=8,
        text_config=None,
        lm_head=head,
        model=SimpleNamespace(get_input_embeddings=nn.Identity),
    )
    context = LogitsContext(adapter, (), 0, None, {1: states})
    logits = torch.arange(9.0)[None, None]
    with torch.no_grad():
        found = DoLa(candidates=[1], relative_top=0.0).logits(logits, context)
        early = states.float() @ head.get_parameter("weight").float().T
    assert found.dtype == torch.float32
    assert torch.allclose(found, logits.log_softmax(-1) - early.log_softmax(-1), atol=1e-5)


def test_a_decoder_without_a_last_norm_is_named() -> None:
    stand_in: dict[str, Any] = {"decoder": nn.Identity()}
    with pytest.raises(UnsupportedError, match="Identity has no last norm"):
        edited([[0.0]], {1: [[0.0]]}, DoLa(candidates=[1], apply_final_norm=True), **stand_in)


def test_the_catalog_has_the_layers_of_the_comparison() -> None:
    card = CATALOG.get("llava-1.5-7b")
    options = INTERVENTIONS.defaults("dola", card)
    assert INTERVENTIONS.build("dola", **options) == DoLa(candidates=list(range(0, 16, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"relative_top": 1.5}, "relative_top"),
        ({"relative_top": math.nan}, "relative_top"),
        ({"divergence": "kl"}, "divergence"),
        ({"candidates": "middle"}, "'low' and 'high'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DoLa(**options)
