"""PAI against two passes that know nothing of it: attention by hand, and the text alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, function, intervene
from lvlmsal.decoders.combination import check_combination
from lvlmsal.decoders.search import Greedy
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.icd import ICD
from lvlmsal.interventions.m3id import M3ID
from lvlmsal.interventions.pai import PAI
from lvlmsal.interventions.vcd import VCD
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.registry.catalog import Catalog
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.tiny import (
    IMAGE,
    IMAGE_END,
    IMAGE_START,
    TINY,
    VIDEO,
    TinySample,
    collate,
    tiny_model,
    tiny_samples,
)
from tests import reference
from tests.tiers import FAMILIES
from tests.unit.interventions.by_hand import attention_by_hand, decode

pytestmark = pytest.mark.slow

F64 = torch.float64
DEPTH = 3


def wanted_logits(
    model: PreTrainedModel, sample: TinySample, answer: list[int], pai: PAI
) -> Tensor:
    """Logits that choose each token of an answer, up to a constant each; (T, V)."""
    prompt = sample.inputs["input_ids"].shape[1]
    layers = range(DEPTH) if pai.layers == "0.0625:" else pai.layers

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        scores = scores.clone()
        for row in range(prompt - 1, scores.shape[2]):
            for start, end in sample.images if layer in layers else ():
                for key in range(start, end):
                    score = scores[0, :, row, key].clone()
                    scores[0, :, row, key] = score + pai.alpha * score.abs()
        return torch.softmax(scores.masked_fill(~visible, -torch.inf), -1)

    rows = slice(prompt - 1, prompt - 1 + len(answer))
    with torch.no_grad(), attention_by_hand(model, rule):
        seen = model(**reference.longer(sample.inputs, answer)).logits[0, rows]
    if pai.gamma == 1:
        return seen
    visual = (IMAGE, VIDEO, IMAGE_START, IMAGE_END)
    text = [token for token in sample.inputs["input_ids"][0].tolist() if token not in visual]
    ids = torch.tensor([[*text, *answer]])
    with torch.no_grad():
        blind = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    blind = blind[len(text) - 1 : len(text) - 1 + len(answer)]
    if pai.contrast == "probabilities":
        mixed = pai.gamma * seen.softmax(-1) - (pai.gamma - 1) * blind.softmax(-1)
        return torch.where(mixed > 0, mixed, 0.0).log()
    mixed = pai.gamma * seen.log_softmax(-1) - (pai.gamma - 1) * blind.log_softmax(-1)
    chances = seen.softmax(-1)
    return mixed.masked_fill(chances < pai.beta * chances.amax(-1, keepdim=True), -torch.inf)


def check_decoding(
    family: str, images: tuple[int, ...], pai: PAI, *, seed: int = 0, **kwargs: Any
) -> None:
    model = tiny_model(family, layers=DEPTH, dtype=F64)
    samples = tiny_samples(family, images, seed=seed, dtype=F64)
    with intervene(model, pai):
        tokens, logits = decode(model, collate(samples), **kwargs)
    for index, sample in enumerate(samples):
        wanted = wanted_logits(model, sample, tokens[index].tolist(), pai)
        found = logits[index]
        assert torch.equal(found == -torch.inf, wanted == -torch.inf), (family, index)
        left, right = found.log_softmax(-1).exp(), wanted.log_softmax(-1).exp()
        assert torch.allclose(left, right, rtol=1e-8, atol=1e-10), (family, index)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(
    "pai",
    [
        PAI(alpha=0.5, gamma=1.1),
        PAI(alpha=0.5, gamma=1.0),
        PAI(alpha=0.0, gamma=2.0, beta=0.0),
        PAI(alpha=0.9, gamma=1.3, beta=0.0, contrast="probabilities", layers=[1, 2]),
    ],
    ids=["both", "attention", "contrast", "probabilities"],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_the_two_passes_by_hand(family: str, pai: PAI, use_cache: bool) -> None:
    """A left-padded batch whose images stand elsewhere in each sample, one without an image."""
    check_decoding(family, (1, 2, 0), pai, use_cache=use_cache)


@pytest.mark.parametrize("family", FAMILIES)
def test_beam_search_is_a_plain_search_over_the_two_passes(family: str) -> None:
    pai, beams, steps = PAI(alpha=0.8, gamma=1.5, beta=0.0), 3, 4
    model = tiny_model(family, layers=DEPTH, dtype=F64)
    samples = tiny_samples(family, (1, 2), dtype=F64)
    with intervene(model, pai):
        tokens, _ = decode(model, collate(samples), steps, num_beams=beams)
    for index, sample in enumerate(samples):
        alive: list[tuple[float, list[int]]] = [(0.0, [])]
        for _ in range(steps):
            found = []
            for score, answer in alive:
                logits = wanted_logits(model, sample, [*answer, 0], pai)[-1]
                logits = logits.log_softmax(-1)
                logits[[2, IMAGE, VIDEO]] = -torch.inf
                best = zip(*logits.topk(beams), strict=True)
                found += [(score + float(gain), [*answer, int(token)]) for gain, token in best]
            alive = sorted(found, reverse=True)[:beams]
        assert tokens[index].tolist() == alive[0][1], (family, index)


@settings(max_examples=25)
@given(
    family=st.sampled_from(sorted(TINY)),
    images=st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
    seed=st.integers(0, 100),
    use_cache=st.booleans(),
    pai=st.builds(
        PAI,
        alpha=st.floats(0, 2.0),
        gamma=st.floats(1.0, 3.0),
        beta=st.floats(0, 0.5) | st.just(1.0),
        layers=st.just("0.0625:") | st.sets(st.integers(0, 2), min_size=1).map(sorted),
    ),
)
def test_any_options_are_the_two_passes_by_hand(
    family: str, images: tuple[int, ...], seed: int, use_cache: bool, pai: PAI
) -> None:
    check_decoding(family, images, pai, seed=seed, use_cache=use_cache)


def context_of(spans: list[TokenSpans], first: int, rows: int) -> AttentionContext:
    columns = torch.arange(first, first + rows)
    return AttentionContext(spans, columns, torch.arange(first + rows), 0, 2, first)


def test_scores_are_raised_by_their_size_on_image_keys_of_predicting_rows() -> None:
    """Two samples, the second padded by one: prompts of 4 and 3, images at 1:3 and 0:1."""
    spans = [TokenSpans(0, ((1, 3),), 4, 4), TokenSpans(1, ((0, 1),), 3, 3)]
    scores = torch.tensor([-4.0, 2.0, -2.0, 1.0, 3.0]).expand(2, 1, 3, 5)
    found = PAI(alpha=0.5).scores(scores, context_of(spans, 2, 3))
    plain = [-4.0, 2.0, -2.0, 1.0, 3.0]
    first, second = [-4.0, 3.0, -1.0, 1.0, 3.0], [-4.0, 3.0, -2.0, 1.0, 3.0]
    assert found[0, 0].tolist() == [plain, first, first]
    assert found[1, 0].tolist() == [plain, second, second]


@given(
    alpha=st.floats(0.01, 3.0),
    scores=st.lists(st.floats(-20, 20), min_size=4, max_size=4),
)
def test_the_images_share_never_falls(alpha: float, scores: list[float]) -> None:
    """Raised scores, of either sign, take weight from the text and from nothing else."""
    plain = torch.tensor(scores, dtype=F64).view(1, 1, 1, 4)
    context = context_of([TokenSpans(0, ((1, 3),), 4, 4)], 3, 1)
    edited = PAI(alpha=alpha).scores(plain, context)
    before, after = (part.softmax(-1)[..., 1:3].sum() for part in (plain, edited))
    assert after >= before - 1e-12
    assert torch.equal(edited[..., [0, 3]], plain[..., [0, 3]])


def test_rows_of_the_prompt_before_the_last_one_are_plain() -> None:
    model = tiny_model("llava", dtype=F64)
    batch = collate(tiny_samples("llava", (1, 0), dtype=F64))
    with torch.no_grad():
        plain = model(**batch).logits
        with intervene(model, PAI(alpha=1.0, gamma=1.5)):
            edited = model(**batch).logits
    assert torch.allclose(edited[:, :-1], plain[:, :-1], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(edited[:, -1].softmax(-1), plain[:, -1].softmax(-1))


def test_without_contrast_there_is_no_second_stream_and_no_cut() -> None:
    model = tiny_model("llava", dtype=F64)
    batch = collate(tiny_samples("llava", dtype=F64))
    calls: list[int] = []
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    with intervene(model, PAI(gamma=1.0)):
        _, logits = decode(model, batch)
    alone, calls[:] = len(calls), []
    with intervene(model, PAI(gamma=1.1)):
        decode(model, batch)
    hook.remove()
    # of the four tokens the last one's pass is that of both streams
    assert (alone, len(calls)) == (4, 7)
    assert [PAI(gamma=gamma).brings_second_stream for gamma in (1.0, 1.1)] == [False, True]
    check_combination(Greedy(), [PAI(gamma=1.0), VCD()])
    with pytest.raises(UnsupportedError, match="second stream each"):
        check_combination(Greedy(), [PAI(), VCD()])
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("cut", "contrast"),
    [
        (VCD(alpha=0), VCD()),
        (ICD(alpha=0), ICD()),
        (M3ID(rate=0, gate="plausibility"), M3ID()),
        (M3ID(max_weight=0, gate="plausibility"), M3ID(gate="plausibility")),
    ],
)
def test_a_cut_alone_goes_with_a_contrast(cut: Any, contrast: Any) -> None:
    check_combination(Greedy(), [cut, PAI()])
    with pytest.raises(UnsupportedError, match="second stream each"):
        check_combination(Greedy(), [contrast, PAI()])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", [PAI(), M3ID()])
def test_a_prompt_without_text_is_refused(family: str, method: Any) -> None:
    (sample,) = tiny_samples(family)
    visual = sample.inputs["input_ids"][0] >= IMAGE  # and the marks around it
    text = ("input_ids", "attention_mask", "mm_token_type_ids")
    alone = {
        name: value[:, visual] if name in text else value for name, value in sample.inputs.items()
    }
    model = tiny_model(family)
    with (
        intervene(model, method),
        pytest.raises(UnsupportedError, match="sample 0 is nothing but its image"),
    ):
        decode(model, alone)


def test_without_amplification_attention_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a row was computed explicitly")

    monkeypatch.setattr(function, "_edited", refuse)
    model = tiny_model("llava")
    batch = collate(tiny_samples("llava"))
    with intervene(model, PAI(alpha=0.0, gamma=1.5)):
        decode(model, batch)
    with pytest.raises(AssertionError, match="explicitly"), intervene(model, PAI(gamma=1.0)):
        decode(model, batch)


def test_identity() -> None:
    assert PAI(alpha=0, gamma=1).is_identity
    assert not PAI(alpha=0.1, gamma=1).is_identity
    assert not PAI(alpha=0, gamma=1.1).is_identity


@pytest.mark.full
@pytest.mark.parametrize("options", [{"gamma": 1.0}, {"contrast": "probabilities", "beta": 0.0}])
def test_the_kit_passes_other_readings(options: dict[str, Any]) -> None:
    check_intervention(PAI(**{"alpha": 1.0, "gamma": 1.5, **options}), families=["qwen2_vl"])


def test_values_of_the_paper_are_those_of_its_model() -> None:
    assert INTERVENTIONS.defaults("pai", Catalog().get("llava-1.5-13b")) == {"alpha": 0.5}
    assert INTERVENTIONS.defaults("pai", Catalog().get("qwen2-vl-7b")) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, "alpha must be at least 0 .*, got -0.1"),
        ({"alpha": math.inf}, "alpha must be at least 0 .*, got inf"),
        ({"gamma": 0.9}, "gamma must be at least 1 .*, got 0.9"),
        ({"gamma": math.nan}, "gamma must be at least 1 .*, got nan"),
        ({"beta": 1.1}, "beta must be from 0 .*, got 1.1"),
        ({"contrast": "odds"}, "contrast='odds' is unknown"),
        ({"contrast": "probabilities"}, "give beta=0"),
        ({"layers": "deep"}, "not understood"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PAI(**options)
