"""M3ID against two plain models, one with the image and one that never saw a placeholder."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.attention import intervene
from lvlmsal.interventions.m3id import M3ID
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.tiny import collate, tiny_model, tiny_samples
from tests import second_streams as streams
from tests.tiers import FAMILIES

pytestmark = pytest.mark.slow

F64 = torch.float64
PAPER = M3ID(rate=0.4, alpha=0.9)
READINGS = {
    "paper": PAPER,
    "closed half of the time": replace(PAPER, alpha=0.35),
    "origin 0": replace(PAPER, origin=0),
    "capped": replace(PAPER, max_weight=0.7),
    "plausibility": M3ID(rate=0.4, gate="plausibility", beta=0.05),
}


@pytest.mark.parametrize(
    ("time", "weight"), [(1, 0.02), (10, 0.22), (50, 1.72), (100, 6.4), (200, 53.6), (512, 28_000)]
)
def test_weights_at_the_default_rate(time: int, weight: float) -> None:
    assert M3ID().weight(torch.tensor(float(time))).item() == pytest.approx(weight, rel=0.02)
    capped = M3ID(max_weight=5.0).weight(torch.tensor(float(time))).item()
    assert capped == pytest.approx(min(weight, 5.0), rel=0.02)


def combining(m3id: M3ID) -> streams.Combine:
    """The formula of the paper or of AvisC, token by token."""

    def combine(seen: Tensor, unseen: Tensor, step: int) -> Tensor:
        l_c = [x - seen.logsumexp(0).item() for x in seen.tolist()]
        l_u = [x - unseen.logsumexp(0).item() for x in unseen.tolist()]
        gamma = math.exp(-m3id.rate * (step + m3id.origin))
        weight = (1 - gamma) / gamma
        if m3id.max_weight is not None:
            weight = min(weight, m3id.max_weight)
        if m3id.gate == "confidence" and max(l_c) >= math.log(m3id.alpha):
            weight = 0.0
        found = [c + weight * (c - u) for c, u in zip(l_c, l_u, strict=True)]
        if m3id.gate == "plausibility":
            most = math.exp(max(l_c))
            found = [
                x if math.exp(c) >= m3id.beta * most else -math.inf
                for x, c in zip(found, l_c, strict=True)
            ]
        return torch.tensor(found, dtype=F64)

    return combine


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("reading", sorted(READINGS))
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_two_plain_models(family: str, reading: str, use_cache: bool) -> None:
    model, m3id = tiny_model(family, dtype=F64), READINGS[reading]
    samples = tiny_samples(family, (1, 2, 0), dtype=F64)
    with intervene(model, m3id):
        tokens, logits = streams.decode(model, collate(samples), use_cache=use_cache)
    plain, _ = streams.decode(model, collate(samples))
    assert not torch.equal(tokens, plain)
    for row, sample in enumerate(samples):
        unseen = streams.without_images(sample.inputs)
        answer = tokens[row].tolist()
        wanted = streams.combined(model, sample.inputs, unseen, combining(m3id), answer)
        assert streams.close(logits[row], wanted), (family, row)


@pytest.mark.parametrize("family", FAMILIES)
def test_beam_search_is_a_plain_search_over_two_models(family: str) -> None:
    model = tiny_model(family, dtype=F64)
    samples = tiny_samples(family, (1, 2), dtype=F64)
    with intervene(model, PAPER):
        tokens, _ = streams.decode(model, collate(samples), num_beams=3)
    for row, sample in enumerate(samples):
        unseen = streams.without_images(sample.inputs)
        wanted = streams.beam_search(
            model, sample.inputs, unseen, combining(PAPER), beams=3, steps=4
        )
        assert tokens[row].tolist() == wanted, (family, row)


def given(logits: Tensor, second: Tensor | None, *, step: int = 0, images: bool = True) -> Any:
    """A context of one sample."""
    spans = [SimpleNamespace(images=((0, 1),) if images else ())]

    def steps(like: Tensor) -> Tensor:
        return torch.arange(step, step + like.shape[1], dtype=like.dtype)[:, None]

    return SimpleNamespace(second=second, spans=spans, steps=steps)


def test_the_gate_by_hand() -> None:
    seen = torch.tensor([[[0.2, 0.8], [0.45, 0.55]]], dtype=F64).log()
    unseen = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]], dtype=F64).log()
    found = M3ID(rate=math.log(2), alpha=0.6).logits(seen, given(seen, unseen))
    # p = 0.8 is sure; p = 0.55 is not, at t = 2 with a weight of 2^2 - 1 = 3.
    assert torch.allclose(found[0, 0], seen[0, 0])
    assert torch.allclose(found[0, 1].exp(), torch.tensor([0.45**4, 0.55**4], dtype=F64) / 0.125)
    late = M3ID(rate=math.log(2), alpha=0.6, origin=0).logits(seen, given(seen, unseen))
    assert torch.allclose(late[0, 1].exp(), torch.tensor([0.45**2, 0.55**2], dtype=F64) / 0.5)


def test_on_short_answers_it_is_the_plain_model_and_a_cut() -> None:
    model = tiny_model("llava")
    inputs = tiny_samples("llava")[0].inputs
    _, plain = streams.decode(model, inputs, steps=1)
    with intervene(model, M3ID(gate="plausibility")):
        _, edited = streams.decode(model, inputs, steps=1)
    kept = edited.isfinite()
    assert 0 < kept.sum() < kept.numel() / 2
    assert torch.allclose(edited[kept], plain.log_softmax(-1)[kept], atol=0.3)


def test_long_answers_and_bans_stay_numbers() -> None:
    seen = torch.tensor([[[0.0, -torch.inf, 1.0]]])
    unseen = torch.tensor([[[0.0, 3.0, 2.0]]])
    for origin in (0, 1):
        for step in (0, 5_000):
            edit = M3ID(alpha=1.0, origin=origin)
            found = edit.logits(seen, given(seen, unseen, step=step))
            assert not found.isnan().any()
            assert found[0, 0, 1] == -torch.inf
            assert found[0, 0, [0, 2]].isfinite().all()


def test_a_row_without_an_image_is_not_moved_by_rounding() -> None:
    seen = torch.randn(1, 1, 9)
    found = M3ID(alpha=1.0).logits(seen, given(seen, seen + 1e-4, step=512, images=False))
    assert torch.equal(found, seen.log_softmax(-1))


def test_no_second_stream_where_there_is_nothing_to_contrast() -> None:
    model = tiny_model("llava")
    with_image, without = tiny_samples("llava", (1, 0))
    prompts = [streams.prompt_of(model, sample.inputs) for sample in (with_image, without)]
    assert M3ID().second_inputs(prompts[0]) is not None
    assert M3ID().second_inputs(prompts[1]) is None
    assert M3ID(rate=0).second_inputs(prompts[0]) is None
    assert M3ID(max_weight=0).second_inputs(prompts[0]) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_no_trace_of_an_image_is_left(family: str) -> None:
    samples = tiny_samples(family, (2, 0, 1))
    found = M3ID().second_inputs(streams.prompt_of(tiny_model(family), collate(samples)))
    assert found is not None
    assert not set(found) - {"input_ids", "attention_mask", "mm_token_type_ids"}
    for ids, mask, sample in zip(found["input_ids"], found["attention_mask"], samples, strict=True):
        wanted = streams.without_images(sample.inputs)["input_ids"][0].tolist()
        assert ids[mask.bool()].tolist() == wanted
        assert ids[len(ids) - len(wanted) :].tolist() == wanted, "padding is at the left"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": -0.1}, "rate must be at least 0 .*, got -0.1"),
        ({"rate": math.inf}, "rate must be at least 0 .*, got inf"),
        ({"gate": "open"}, "gate='open' is unknown"),
        ({"alpha": 2.0}, r"alpha must be a probability, from 0 to 1, got 2\.0"),
        ({"beta": -1.0}, r"beta must be from 0 .*, got -1\.0"),
        ({"origin": 2}, "origin=2 is unknown"),
        ({"max_weight": -5.0}, r"max_weight must be at least 0, or None, got -5\.0"),
        ({"max_weight": math.nan}, "max_weight must be at least 0, or None, got nan"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        M3ID(**options)


def test_what_is_off() -> None:
    assert M3ID(rate=0).is_identity
    assert M3ID(max_weight=0).is_identity
    assert not M3ID(rate=0, gate="plausibility").is_identity
    assert M3ID(rate=0, gate="plausibility", beta=0).is_identity
    built = INTERVENTIONS.build("m3id", origin=0, max_weight=5)
    assert built == M3ID(origin=0, max_weight=5)
