"""VORD by hand, its margin against the embeddings themselves, and against two plain models."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.attention import intervene
from lvlmsal.interventions.vcd import VCD
from lvlmsal.interventions.vord import VORD, banned
from lvlmsal.testing.tiny import IMAGE, collate, tiny_model, tiny_samples
from tests import second_streams as streams
from tests.tiers import FAMILIES

F64 = torch.float64


@pytest.mark.parametrize(
    ("margin", "bans"), [(0.2, [1]), (0.5, []), (0.0, [1]), (0.399, [1]), (0.401, [])]
)
def test_the_rule_by_hand(margin: float, bans: list[int]) -> None:
    p, noised = (torch.tensor([[x]], dtype=F64).log() for x in ([0.6, 0.3, 0.1], [0.2, 0.7, 0.1]))
    found = banned(p, noised, torch.tensor([margin], dtype=F64))
    assert found[0, 0].nonzero().flatten().tolist() == bans


def test_each_sample_has_its_own_margin() -> None:
    p = torch.tensor([[0.5, 0.5, 0.0], [0.6, 0.4, 0.0]], dtype=F64).log()[:, None]
    noised = torch.tensor([[0.1, 0.9, 0.0], [0.1, 0.9, 0.0]], dtype=F64).log()[:, None]
    found = banned(p, noised, torch.tensor([0.5, 0.0], dtype=F64))
    assert found[:, 0].tolist() == [[False, False, False], [False, True, False]]


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_something_is_always_left(seed: int, margin: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    p, noised = torch.randn(2, 3, 2, 9, generator=generator, dtype=F64) * 4
    found = banned(p, noised, torch.full((3,), margin, dtype=F64))
    assert not found.all(-1).any()
    for row in range(3):
        for place in range(2):
            own, other = p[row, place].softmax(-1), noised[row, place].softmax(-1)
            wanted = [min(a + margin, 1) < b for a, b in zip(own, other, strict=True)]
            assert found[row, place].tolist() == wanted


def embedded(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The mean over visual tokens of what enters the decoder, as transformers returns it."""
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states[0]
    return states[0, inputs["input_ids"][0] == IMAGE].mean(0)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_two_plain_models_with_the_angle_between_their_images(family: str) -> None:
    model, vord = tiny_model(family, dtype=F64), VORD(noise_step=900)
    samples = tiny_samples(family, (1, 2, 0), dtype=F64)
    with intervene(model, vord):
        tokens, logits = streams.decode(model, collate(samples))
    bans = 0
    for row, sample in enumerate(samples):
        noised = VCD(noise_step=900).second_inputs(streams.prompt_of(model, sample.inputs))
        if noised is None:
            wanted = streams.combined(
                model, sample.inputs, sample.inputs, lambda own, *_: own, tokens[row].tolist()
            )
            assert streams.close(logits[row], wanted)
            continue
        features = [embedded(model, dict(of)) for of in (sample.inputs, noised)]
        cosine = torch.nn.functional.cosine_similarity(*features, dim=0)
        margin = float(torch.arccos(cosine)) / math.pi
        assert 0.01 < margin < 1

        def combine(
            own: torch.Tensor, other: torch.Tensor, step: int, margin: float = margin
        ) -> torch.Tensor:
            less = (own.softmax(-1) + margin).clamp(max=1) < other.softmax(-1)
            return own.masked_fill(less, -torch.inf)

        wanted = streams.combined(model, sample.inputs, noised, combine, tokens[row].tolist())
        bans += int(wanted.isinf().sum())
        assert streams.close(logits[row], wanted), (family, row)

    # random models are far from any margin: without one something is banned
    with intervene(model, VORD(noise_step=900, margin=0.0)):
        _, strict = streams.decode(model, collate(samples))
    assert strict[:2].isinf().sum() > logits[:2].isinf().sum()
    assert strict[2].isinf().sum() == logits[2].isinf().sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 1.5}, r"margin must be from 0 to 1 \(bans nothing\), got 1.5"),
        ({"noise_step": 1000}, "noise_step must be from 0 to 999, got 1000"),
        ({"schedule": "linear"}, "schedule='linear' is unknown"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VORD(**options)


def test_what_is_off() -> None:
    assert VORD(margin=1.0).is_identity
    assert not VORD().is_identity
    assert VORD().brings_second_stream
