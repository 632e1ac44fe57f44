"""The small steps from attention and gradient to S(c), at their edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.saliency import SaliencyOptions
from lvlmsal.saliency.reduce import context_mask, fuse, normalize, token_saliency


def test_a_row_without_saliency_stays_zero() -> None:
    assert torch.equal(normalize(torch.zeros(2, 5)), torch.zeros(2, 5))


def test_heads_may_cancel_before_the_absolute_value() -> None:
    weights = torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]]])
    gradients = torch.tensor([[[2.0, 1.0]], [[-2.0, 1.0]]])
    assert torch.equal(fuse(weights, gradients), torch.tensor([[2.0, 1.0]]))
    summed = fuse(weights, gradients, heads="sum_then_abs")
    assert torch.equal(summed, torch.tensor([[0.0, 1.0]]))


@pytest.mark.parametrize("fusion", ["add", "max", "gradient"])
def test_a_masked_key_has_no_part_though_it_has_a_gradient(fusion: str) -> None:
    weights, gradients = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[9.0, 1.0]]])
    assert fuse(weights, gradients, fusion=fusion)[0, 0] == 0  # type: ignore[arg-type]


@given(
    pad=st.integers(0, 4),
    system=st.integers(0, 4),
    image=st.integers(1, 5),
    prompt=st.integers(0, 5),
    output=st.integers(0, 5),
)
def test_context_is_what_stands_before_the_token_and_behind_the_image(
    pad: int, system: int, image: int, prompt: int, output: int
) -> None:
    end, start = system + image, system + image + prompt
    spans = TokenSpans(pad, ((system, end),), start, start + output)
    columns = pad + spans.length
    for stop in range(pad + start, columns + 1):
        after = context_mask([spans], columns, [stop], "after_image")[0, 0]
        assert after.nonzero().flatten().tolist() == list(range(pad + end, stop))
        generated = context_mask([spans], columns, [stop], "output")[0, 0]
        assert generated.nonzero().flatten().tolist() == list(range(pad + start, stop))


def test_the_mean_is_over_layers_and_context_and_undefined_without_a_context() -> None:
    rows = torch.tensor([[[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]]).expand(2, -1, -1)
    members = torch.tensor([[False, True, True], [False, False, False]])
    first, second = token_saliency(rows, members).tolist()
    assert first == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert second != second


@pytest.mark.parametrize("name", ["row", "norm", "heads", "fusion", "context", "layers"])
def test_an_unknown_reading_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        SaliencyOptions(**{name: "other"})  # type: ignore[arg-type]
