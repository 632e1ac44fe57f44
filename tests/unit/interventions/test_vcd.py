"""VCD against two plain models, one on the image and one on the noised image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lvlmsal.attention import intervene
from lvlmsal.interventions.vcd import VCD
from lvlmsal.testing.tiny import TinySample, collate, tiny_model, tiny_samples
from tests import second_streams as streams
from tests.tiers import FAMILIES

pytestmark = pytest.mark.slow

F64 = torch.float64


@pytest.mark.parametrize(
    ("step", "signal", "noise"),
    [(500, 0.863, 0.505), (700, 0.593, 0.805), (900, 0.365, 0.931), (999, 0.285, 0.9585)],
)
def test_the_schedule_of_the_code(step: int, signal: float, noise: float) -> None:
    vcd = VCD(noise_step=step)
    assert vcd.signal == pytest.approx(signal, abs=6e-4)
    assert math.sqrt(1 - vcd.signal**2) == pytest.approx(noise, abs=6e-4)


def test_the_schedule_of_the_paper_leaves_nothing() -> None:
    assert VCD(noise_step=2, schedule="paper").signal == pytest.approx(0.9)
    assert VCD(noise_step=500, schedule="paper").signal == pytest.approx(3.6e-12, rel=0.02)


def noise_of(vcd: VCD, image: Tensor, noised: Tensor) -> Tensor:
    return (noised - vcd.signal * image) / math.sqrt(1 - vcd.signal**2)


def test_noise_is_normal_and_of_the_image_and_the_seed() -> None:
    def noise(pixels: Tensor, **options: Any) -> Tensor:
        vcd = VCD(**options)
        noised = vcd.second_inputs(streams.prompt_of(tiny_model("llava"), inputs(pixels)))
        assert noised is not None
        return noise_of(vcd, pixels, noised["pixel_values"])

    def inputs(pixels: Tensor) -> dict[str, Tensor]:
        ids = torch.tensor([[1, 5, *[260] * 16, 6]] * len(pixels))
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values": pixels,
        }

    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    both = noise(pixels)
    assert both.mean().abs() < 0.03
    assert (both.var() - 1).abs() < 0.03
    assert torch.corrcoef(both.flatten(1))[0, 1].abs() < 0.05, "two images, two noises"
    assert torch.corrcoef(torch.stack([both.flatten(), pixels.flatten()]))[0, 1].abs() < 0.03
    # The same image gets the same, alone and in the other place, and at every step of the schedule.
    assert torch.equal(noise(pixels[1:]), both[1:])
    assert torch.equal(noise(pixels.flip(0)).flip(0), both)
    assert torch.allclose(noise(pixels, noise_step=999), both, atol=1e-5)
    seeds = [noise(pixels, noise_seed=seed) for seed in (0, 1, 2)]
    assert torch.equal(seeds[0], both)
    for left, right in ((0, 1), (1, 2), (0, 2)):
        pair = torch.stack([seeds[left].flatten(), seeds[right].flatten()])
        assert torch.corrcoef(pair)[0, 1].abs() < 0.03


def pixels_of(inputs: Mapping[str, Tensor]) -> Tensor:
    """Pixels of all images, one after the other, without what pads rows of them."""
    pixels = inputs["pixel_values"]
    return pixels[pixels.flatten(2).any(-1)] if pixels.dim() == 5 else pixels


@pytest.mark.parametrize("family", FAMILIES)
def test_each_image_of_a_batch_is_noised_by_itself(family: str) -> None:
    model, vcd = tiny_model(family), VCD()
    samples = tiny_samples(family, (2, 1))
    batch = collate(samples)
    together = vcd.second_inputs(streams.prompt_of(model, batch))
    assert together is not None
    assert all(together[name] is batch[name] for name in batch if name != "pixel_values")
    alone = [vcd.second_inputs(streams.prompt_of(model, sample.inputs)) for sample in samples]
    assert torch.equal(pixels_of(together), torch.cat([pixels_of(each) for each in alone if each]))
    sizes = [1] * len(pixels_of(batch))
    if "image_grid_thw" in batch:
        sizes = batch["image_grid_thw"].prod(-1).tolist()
    parts = zip(pixels_of(batch).split(sizes), pixels_of(together).split(sizes), strict=True)
    noises = [noise_of(vcd, *part).flatten() for part in parts]
    assert len(noises) > 2
    smallest = min(len(noise) for noise in noises)
    for index, noise in enumerate(noises):
        for other in noises[:index]:
            pair = torch.stack([noise[:smallest], other[:smallest]])
            assert torch.corrcoef(pair)[0, 1].abs() < 0.3, "images share their noise"


def second(vcd: VCD, family: str, sample: TinySample) -> dict[str, Any]:
    """The sample with noised pixels, worked out without the rest of its batch."""
    noised = vcd.second_inputs(streams.prompt_of(tiny_model(family), sample.inputs))
    return dict(sample.inputs if noised is None else noised)


def combining(vcd: VCD) -> streams.Combine:
    def combine(clean: Tensor, noised: Tensor, step: int) -> Tensor:
        contrast = (1 + vcd.alpha) * clean - vcd.alpha * noised
        probs = clean.softmax(-1)
        return torch.where(probs >= vcd.beta * probs.max(), contrast, -torch.inf)

    return combine


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_two_plain_models(family: str, use_cache: bool) -> None:
    model, vcd = tiny_model(family, dtype=F64), VCD(alpha=0.7, beta=0.02, noise_step=900)
    samples = tiny_samples(family, (1, 2, 0), dtype=F64)
    with intervene(model, vcd):
        tokens, logits = streams.decode(model, collate(samples), use_cache=use_cache)
    plain, _ = streams.decode(model, collate(samples))
    assert not torch.equal(tokens, plain)
    for row, sample in enumerate(samples):
        noised = second(vcd, family, sample)
        answer = tokens[row].tolist()
        wanted = streams.combined(model, sample.inputs, noised, combining(vcd), answer)
        assert streams.close(logits[row], wanted), (family, row)


@pytest.mark.parametrize("family", FAMILIES)
def test_beam_search_is_a_plain_search_over_two_models(family: str) -> None:
    model, vcd = tiny_model(family, dtype=F64), VCD(alpha=1.0, beta=0.01, noise_step=999)
    samples = tiny_samples(family, (1, 2), dtype=F64)
    with intervene(model, vcd):
        tokens, _ = streams.decode(model, collate(samples), num_beams=3)
    for row, sample in enumerate(samples):
        noised = second(vcd, family, sample)
        wanted = streams.beam_search(model, sample.inputs, noised, combining(vcd), beams=3, steps=4)
        assert tokens[row].tolist() == wanted, (family, row)


@given(st.floats(0, 4), st.floats(0, 1), st.integers(0, 10**6))
def test_contrast_and_cut(alpha: float, beta: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, other = torch.randn(2, 2, 3, 40, generator=generator, dtype=F64) * 3
    found = VCD(alpha=alpha, beta=beta).logits(logits, context(other if alpha else None))
    for row in range(2):
        for place in range(3):
            probs = [math.exp(x) for x in logits[row, place].tolist()]
            for token, prob in enumerate(probs):
                value = found[row, place, token].item()
                share = prob / max(probs)
                if abs(share - beta) < 1e-9 * beta:
                    continue  # rounding decides
                if share < beta:
                    assert value == -math.inf
                else:
                    clean, noised = (each[row, place, token].item() for each in (logits, other))
                    assert value == pytest.approx(clean + alpha * (clean - noised), abs=1e-9)


def context(other: Tensor | None) -> Any:
    class Context:
        second = other

    return Context()


def test_without_an_image_only_the_cut_is_left() -> None:
    model = tiny_model("llava")
    inputs = tiny_samples("llava", (0,))[0].inputs
    _, plain = streams.decode(model, inputs, steps=1)
    with intervene(model, VCD(beta=0.5)):
        _, cut = streams.decode(model, inputs, steps=1)
    kept = cut.isfinite()
    assert 0 < kept.sum() < kept.numel()
    assert torch.equal(cut[kept], plain[kept])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, "alpha must be at least 0 .*, got -0.1"),
        ({"alpha": math.nan}, "alpha must be at least 0 .*, got nan"),
        ({"beta": 1.1}, r"beta must be from 0 .*, got 1\.1"),
        ({"noise_step": 1000}, "noise_step must be from 0 to 999, got 1000"),
        ({"noise_step": -1}, "noise_step must be from 0 to 999, got -1"),
        ({"schedule": "linear"}, "schedule='linear' is unknown"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VCD(**options)


def test_what_is_off() -> None:
    assert VCD(alpha=0, beta=0).is_identity
    assert not VCD(alpha=0).is_identity
    assert not VCD(beta=0).is_identity
