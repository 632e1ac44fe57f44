"""Saliency in float32 and half precision against float64 with the very same weights."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import lvlmsal
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.pocket.scenes.draw import draw
from lvlmsal.pocket.scenes.world import scene_number
from lvlmsal.saliency import SaliencyOptions, SaliencyReport
from lvlmsal.saliency.losses import loss_gradient

# Median and largest relative error of S over an answer, as the documentation states them.
TOLERANCE = {
    torch.float32: (2e-6, 1e-4),
    torch.float16: (2e-3, 5e-2),
    torch.bfloat16: (1e-2, 2e-1),
}
PROMPT = "Please describe this image in detail."


@pytest.fixture(scope="module", params=["pocket-llava", "pocket-qwen2vl"])
def lvlm(request: pytest.FixtureRequest) -> Lvlm:
    return lvlmsal.load(request.param)


def set_weights(lvlm: Lvlm, dtype: torch.dtype, weights: dict[str, Tensor]) -> None:
    """These weights, computing in ``dtype``."""
    lvlm.model.to(dtype)
    lvlm.model.load_state_dict(weights)


@pytest.mark.slow
@pytest.mark.parametrize("row", ["predicting", "candidate"])
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_a_trained_model_in_lower_precision(lvlm: Lvlm, dtype: torch.dtype, row: str) -> None:
    image = Image.fromarray(draw(scene_number(3, seed=5, shifted=True)))
    stored = {name: value.clone() for name, value in lvlm.model.state_dict().items()}
    try:
        answer = lvlm.generate(image, PROMPT, max_new_tokens=30).token_ids
        options = SaliencyOptions(row=row)

        def report() -> SaliencyReport:
            return lvlm.diagnose(image, PROMPT, answer, options=options)

        lvlm.model.to(dtype)
        rounded = {name: value.clone() for name, value in lvlm.model.state_dict().items()}
        found = report()
        decoder = SGRS(row=row, alpha=0.9, plausibility=0.1)
        records = lvlm.generate(image, PROMPT, decoder=decoder, max_new_tokens=20).tokens
        set_weights(lvlm, torch.float64, rounded)
        wanted = report()
    finally:
        set_weights(lvlm, torch.float32, stored)
    # Sure of most of its words: a gradient taken as p - onehot would have lost its digits here.
    assert max(found.log_probabilities) > -1e-4
    for fusion in wanted.maps:
        assert torch.isfinite(found.maps[fusion]).all()
        pairs = zip(found.token_saliency(fusion), wanted.token_saliency(fusion), strict=True)
        errors = [abs(mine - right) / right for mine, right in pairs if mine and right]
        assert len(errors) == len(answer)
        median, largest = TOLERANCE[dtype]
        assert statistics.median(errors) < median, fusion
        assert max(errors) < largest, fusion
    for record in records:
        assert record.saliency is not None
        assert math.isfinite(record.saliency)
        if record.threshold is not None and not record.fallback:
            assert record.saliency >= record.threshold
    assert any(record.tries > 1 for record in records)


@given(
    logits=st.lists(st.floats(-30, 30), min_size=2, max_size=12),
    data=st.data(),
    row=st.sampled_from(["predicting", "candidate"]),
)
def test_the_gradient_of_the_loss_is_autograds(
    logits: list[float], data: st.DataObject, row: str
) -> None:
    values = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    token = data.draw(st.integers(0, len(logits) - 1))
    judged = token if row == "predicting" else int(values.argmax())
    wanted = torch.autograd.grad(-torch.log_softmax(values, -1)[judged], values)[0]
    found = loss_gradient(values.detach(), torch.tensor(token), row)  # type: ignore[arg-type]
    assert torch.allclose(found.scale * found.direction, wanted, rtol=1e-6, atol=1e-15)
    assert float(found.direction.sum()) == pytest.approx(0, abs=1e-12)
    assert 0.49 < float(found.direction.abs().max()) <= 1
    assert math.frexp(float(found.scale))[0] == 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sure_token_keeps_all_digits(dtype: torch.dtype) -> None:
    """p(c) is one minus 2e-25: p - 1 would be zero, and S a quotient of zeros."""
    logits = torch.tensor([57.0, 0.0, math.log(3.0)], dtype=dtype)
    found = loss_gradient(logits, torch.tensor(0), "predicting")
    unit = (found.direction / -found.direction[0]).tolist()
    assert unit == pytest.approx([-1.0, 0.25, 0.75], rel=1e-6)
    assert 0 < float(found.scale) < 1e-19
