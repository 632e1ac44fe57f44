"""VisSink's two hooks, called by hand: rows, thresholds, and whose sinks they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.vissink.intervention import VisSink
from lvlmsal.interventions.vissink.sinks import Sinks
from lvlmsal.testing.tiny import tiny_model

F64 = torch.float64


def hooked(
    vissink: VisSink,
    spans: Sequence[TokenSpans],
    states: Sequence[Tensor],
) -> list[AttentionContext]:
    """Contexts of consecutive layers whose inputs (B, n, d) the method has seen."""
    model = tiny_model("llava")
    batch, length, _ = states[0].shape
    ids = torch.full((batch, length), 5)
    adapter = adapter_for(model)
    state = vissink.prepare(Prompt(adapter, spans, {"input_ids": ids}, lambda *_: None))
    every = torch.arange(length)
    contexts = [
        AttentionContext(spans, every, every, layer, len(states), 0, states={id(vissink): state})
        for layer in range(len(states))
    ]
    for context, each in zip(contexts, states, strict=True):
        assert vissink.layer_input(each, context) is each
    return contexts


def with_sinks(batch: int, length: int, sinks: Sequence[tuple[int, int]], dim: int = 4) -> Tensor:
    """States (B, n, 32) of ones, in which tokens (row, column) are massive in one dimension."""
    states = torch.ones(batch, length, 32)
    for row, column in sinks:
        states[row, column, dim] = -1000.0
    return states


def test_a_row_worked_out_by_hand() -> None:
    # begin, image x 3, question: sinks are the first token and the image's first one
    vissink = VisSink(tau=5.0, keep=0.5, dims=[4], layers=None)
    spans = [TokenSpans(0, ((1, 4),), 5, 5)]
    (context,) = hooked(vissink, spans, [with_sinks(1, 5, [(0, 0), (0, 1)])])
    row = torch.tensor([0.3, 0.2, 0.2, 0.1, 0.2])
    weights = torch.eye(5)[None, None].clone()
    weights[..., 4, :] = row
    edited = vissink.weights(weights, context)
    # m = 0.5, of it 0.2 on a sink; half of 0.3 + 0.2 moves to the other two, as 2 to 1
    wanted = torch.tensor([0.15, 0.1, 0.2 + 0.25 * 2 / 3, 0.1 + 0.25 / 3, 0.2])
    assert torch.allclose(edited[0, 0, 4], wanted, atol=1e-6)
    assert torch.equal(edited[..., :4, :], weights[..., :4, :])
    assert vissink.first_row(context) == 4


@pytest.mark.parametrize(
    ("options", "acts"),
    [
        ({"image_mass": 0.5}, True),
        ({"image_mass": 0.51}, False),
        ({"sink_share": 0.41}, True),
        ({"sink_share": 0.39}, False),
        ({"tau": 5.6}, True),  # 1000 / sqrt(1000^2 / 32) = 5.66
        ({"tau": 5.7}, False),
        ({"dims": [3]}, False),
        ({"dims": [3, 4]}, True),
        ({"keep": 0.0}, True),
    ],
)
def test_both_sides_of_each_threshold(options: dict[str, Any], acts: bool) -> None:
    vissink = VisSink(**{"tau": 5.0, "keep": 0.5, "dims": [4], "layers": None, **options})
    spans = [TokenSpans(0, ((1, 4),), 5, 5)]
    (context,) = hooked(vissink, spans, [with_sinks(1, 5, [(0, 0), (0, 1)])])
    weights = torch.tensor([0.3, 0.2, 0.2, 0.1, 0.2], dtype=F64).expand(1, 1, 5, 5)
    edited = vissink.weights(weights, context)
    assert torch.allclose(edited.sum(-1), weights.sum(-1))
    assert torch.equal(edited, weights) != acts


def test_a_text_sink_alone_is_left_alone() -> None:
    vissink = VisSink(tau=5.0, keep=0.0, dims=[4], layers=None)
    (context,) = hooked(vissink, [TokenSpans(0, ((1, 4),), 5, 5)], [with_sinks(1, 5, [(0, 0)])])
    weights = torch.full((1, 1, 5, 5), 0.2)
    assert torch.equal(vissink.weights(weights, context), weights)
    assert vissink.first_row(context) == 5  # the whole layer stays on the plain kernel


@given(st.data())
def test_rows_keep_their_sum_and_only_sinks_and_image_tokens_change(data: st.DataObject) -> None:
    length = data.draw(st.integers(4, 9))
    start = data.draw(st.integers(0, length - 2))
    end = data.draw(st.integers(start + 1, length - 1))
    pad = data.draw(st.integers(0, 2))
    sinks = data.draw(st.sets(st.integers(0, length - 1)))
    vissink = VisSink(
        tau=5.0,
        keep=data.draw(st.floats(0, 1)),
        image_mass=data.draw(st.floats(0, 1)),
        sink_share=data.draw(st.floats(0, 1)),
        dims=[4],
        layers=None,
    )
    spans = [TokenSpans(pad, ((start, end),), length, length)]
    states = with_sinks(1, pad + length, [(0, pad + token) for token in sinks])
    (context,) = hooked(vissink, spans, [states])
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    scores = 3 * torch.randn(1, 3, pad + length, pad + length, dtype=F64)
    seen = torch.ones(pad + length, pad + length).tril().bool()
    seen[:, :pad] = False
    weights = scores.masked_fill(~seen, -1e30).softmax(-1)
    edited = vissink.weights(weights, context)
    assert torch.allclose(edited.sum(-1), weights.sum(-1), rtol=1e-12)
    assert (edited >= 0).all()
    assert torch.equal(edited[:, :, : pad + end], weights[:, :, : pad + end])
    image = set(range(start, end))
    if not sinks & image:
        assert torch.equal(edited, weights)
    for token in set(range(length)) - sinks - image:
        assert torch.equal(edited[..., pad + token], weights[..., pad + token])
    for token in sinks:
        assert (edited[..., pad + token] <= weights[..., pad + token]).all()
    for token in image - sinks:
        assert (edited[..., pad + token] >= weights[..., pad + token]).all()


def test_sinks_are_of_a_sample_and_of_a_layer() -> None:
    vissink = VisSink(tau=5.0, dims=[4], layers=None)
    # the second sample is shorter: what is column 3 of it is position 1
    spans = [TokenSpans(0, ((1, 4),), 6, 6), TokenSpans(2, ((1, 3),), 4, 4)]
    first, second = with_sinks(2, 6, [(0, 1), (1, 3)]), with_sinks(2, 6, [(0, 2), (1, 0)])
    contexts = hooked(vissink, spans, [first, second])
    state: Sinks = contexts[0].state(vissink)
    masks = [state.of_layer[layer].sinks[:, 0, 0].nonzero().tolist() for layer in (0, 1)]
    assert masks == [[[0, 1], [1, 3]], [[0, 2]]]  # column 0 of the second sample is padding
    weights = torch.full((2, 1, 6, 6), 1 / 6)
    changed = [
        (vissink.weights(weights, context) != weights).any(-1).nonzero()[:, [0, 2]].tolist()
        for context in contexts
    ]
    assert changed == [[[0, 4], [0, 5], [1, 5]], [[0, 4], [0, 5]]]
