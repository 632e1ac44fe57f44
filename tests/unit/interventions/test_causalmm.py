"""CausalMM against hand cases, and against full runs whose attention is written out by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.causalmm import CausalMM, CounterfactualAttention, counterfactual_map
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.tiny import collate, tiny_model, tiny_samples
from tests import reference
from tests import second_streams as streams
from tests.tiers import FAMILIES, in_full
from tests.unit.interventions import by_hand

pytestmark = pytest.mark.slow

F64 = torch.float64


def test_both_contrasts_are_added() -> None:
    spans = TokenSpans(pad=0, images=((1, 2),), output_start=3, length=3)
    seconds = {"vision": torch.tensor([[[1.0, 1.0]]]), "language": torch.tensor([[[1.0, 2.0]]])}
    adapter = adapter_for(tiny_model("llava"))
    context = LogitsContext(adapter, [spans], 0, None, {}, seconds=seconds)
    found = CausalMM(side="both", beta=0.0).logits(torch.tensor([[[2.0, 1.0]]]), context)
    assert found.tolist() == [[[4.0, 0.0]]]
    blind = LogitsContext(adapter, [TokenSpans(0, (), 3, 3)], 0, None, {}, seconds=seconds)
    plain = CausalMM(side="both", beta=0.0).logits(torch.tensor([[[2.0, 1.0]]]), blind)
    assert plain.tolist() == [[[2.0, 1.0]]], "a sample without an image"


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        # the row sees three of four keys
        ("uniform", [0.25, 0.25, 0.25, 0.0]),
        ("reversed", [0.3, 0.0, 0.3, 0.0]),
        # .3 + 0 + .3 and .5 for the key that it does not see
        ("reversed_normalized", [0.3 / 1.1, 0.0, 0.3 / 1.1, 0.0]),
    ],
)
def test_a_row_of_the_prompt_by_hand(kind: Any, wanted: list[float]) -> None:
    spans = TokenSpans(pad=0, images=((1, 2),), output_start=4, length=4)
    weights = torch.tensor([0.2, 0.5, 0.2, 0.0])[None, None, None]
    scores = torch.tensor([0.0, 1.0, 0.0, torch.finfo(torch.float32).min])[None, None, None]
    context = AttentionContext(
        [spans], torch.tensor([2]), torch.arange(4), 0, 1, first_query_column=2, scores=scores
    )
    found = CounterfactualAttention(kind, 0, None).weights(weights, context)
    assert found.flatten().tolist() == pytest.approx(wanted)


def rewritten(scores: Tensor, visible: Tensor, kind: str, prompt: int) -> Tensor:
    """Counterfactual weights of a whole sequence (1, H, n, n), row by row."""
    plain = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    found = torch.zeros_like(plain)
    for row in range(scores.shape[2]):
        count = max(prompt, row + 1)
        for head in range(scores.shape[1]):
            seen = visible[0, 0, row].nonzero().flatten().tolist()
            largest = max(float(plain[0, head, row, key]) for key in seen)
            gaps = [largest - float(plain[0, head, row, key]) for key in seen]
            total = sum(gaps) + (count - len(seen)) * largest
            for key, gap in zip(seen, gaps, strict=True):
                value = {"uniform": 1 / count, "reversed": gap}.get(kind, gap / total)
                found[0, head, row, key] = value
    return found


def blurred(model: Any, inputs: Any, answer: list[int], edit: CausalMM, layers: Any) -> Tensor:
    """Logits (V,) behind an answer, by one run of everything under the rule."""
    prompt = inputs["input_ids"].shape[1]

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        if layer in layers:
            return rewritten(scores, visible, edit.language, prompt)
        return scores.masked_fill(~visible, -torch.inf).softmax(-1)

    with by_hand.attention_by_hand(model, rule), torch.no_grad():
        logits: Tensor = model(**reference.longer(inputs, answer)).logits
    return logits[0, -1]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(
    "kind", in_full(["uniform", "reversed", "reversed_normalized"], but="reversed_normalized")
)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_step_is_the_contrast_of_two_runs(family: str, kind: Any, use_cache: bool) -> None:
    edit = CausalMM(alpha=1.5, beta=0.0, language=kind, layers="1:2")
    model = tiny_model(family, layers=3, dtype=F64)
    samples = tiny_samples(family, (1, 2), dtype=F64)
    with intervene(model, edit):
        tokens, logits = streams.decode(model, collate(samples), use_cache=use_cache)
    for row, sample in enumerate(samples):
        for step in range(3):
            answer = tokens[row, :step].tolist()
            seen = streams.following(model, sample.inputs, answer)
            unseen = blurred(model, sample.inputs, answer, edit, [1])
            assert (seen - unseen).abs().max() > 1e-3, "the second stream is the first one"
            assert streams.close(logits[row, step], 2.5 * seen - 1.5 * unseen), (row, step)


def test_random_maps_belong_to_a_row_however_it_is_run() -> None:
    model = tiny_model("llava", layers=3, dtype=F64)
    samples = tiny_samples("llava", (1, 2), dtype=F64)

    def run(inputs: Any, seed: int = 0, **options: Any) -> tuple[Tensor, Tensor]:
        with intervene(model, CausalMM(beta=0.0, language="random", layers=None, seed=seed)):
            return streams.decode(model, inputs, **options)

    tokens, logits = run(collate(samples))
    again = run(collate(samples), use_cache=False)
    assert torch.equal(again[0], tokens)
    assert streams.close(again[1], logits)
    alone = run(samples[1].inputs)
    assert torch.equal(alone[0][0], tokens[1])
    assert streams.close(alone[1][0], logits[1])
    assert not streams.close(run(collate(samples), seed=1)[1], logits)


def test_a_random_row_sums_to_what_it_sees_of_one() -> None:
    spans = TokenSpans(pad=0, images=((1, 2),), output_start=4, length=4)
    scores = torch.zeros(1, 2, 4, 4).masked_fill(
        ~torch.ones(4, 4).tril().bool(), torch.finfo(torch.float32).min
    )
    rows = torch.arange(4)
    context = AttentionContext([spans], rows, rows, 0, 1, first_query_column=0, scores=scores)
    found = CounterfactualAttention("random", 0, None).weights(scores.softmax(-1), context)
    assert torch.equal(found.bool(), torch.ones(4, 4).tril().bool().expand_as(found))
    sums = found.sum(-1)
    assert torch.allclose(sums[..., -1], torch.ones(()))
    assert bool((sums[..., :-1] < 1).all())


def tower_attention(tower: Any, pixels: Tensor) -> Tensor:
    tower.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            found: Tensor = tower(pixels, output_attentions=True).attentions[-2]
        return found
    finally:
        tower.set_attn_implementation("sdpa")


@pytest.mark.parametrize("kind", ["uniform", "reversed"])
def test_features_are_scaled_by_a_map_of_the_encoder(kind: Any) -> None:
    edit = CausalMM(alpha=1.5, beta=0.0, side="vision", vision=kind)
    model: Any = tiny_model("llava", layers=3, dtype=F64)
    samples = tiny_samples("llava", (1, 2), dtype=F64)
    with intervene(model, edit):
        tokens, logits = streams.decode(model, collate(samples))
    for row, sample in enumerate(samples):
        weights = tower_attention(model.model.vision_tower, sample.inputs["pixel_values"])
        if kind == "uniform":
            weights = torch.full_like(weights, 1 / weights.shape[-1])
        else:
            weights = weights.max(-1, keepdim=True).values - weights
        maps = interpolate(weights.mean(1, keepdim=True), size=(4, 4), mode="bilinear")
        changed = copy.deepcopy(model)
        changed.model.multi_modal_projector.register_forward_pre_hook(
            lambda _, args, maps=maps: (args[0] * maps.flatten(1)[..., None],)
        )
        for step in range(4):
            answer = tokens[row, :step].tolist()
            seen = streams.following(model, sample.inputs, answer)
            unseen = streams.following(changed, sample.inputs, answer)
            assert (seen - unseen).abs().max() > 1e-3, "the second stream is the first one"
            assert streams.close(logits[row, step], 2.5 * seen - 1.5 * unseen), (row, step)


def test_both_sides_have_a_stream_each() -> None:
    model = tiny_model("llava", layers=3, dtype=F64)
    batch = collate(tiny_samples("llava", (1, 2), dtype=F64))
    plain = streams.decode(model, batch, steps=1)[1]
    found = {}
    for side in ("language", "vision", "both"):
        with intervene(model, CausalMM(beta=0.0, side=side)):
            found[side] = streams.decode(model, batch, steps=1)[1] - plain
    assert streams.close(found["both"], found["language"] + found["vision"])


def test_shuffled_and_random_maps() -> None:
    weights = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    shuffled = counterfactual_map(weights, "shuffled", seed=0)
    assert torch.equal(shuffled.flatten(2).sort().values, weights.flatten(2).sort().values)
    assert not torch.equal(shuffled, weights)
    # every image by the same permutation, every head by its own
    numbers = torch.arange(25.0).expand(2, 3, 25).view(2, 3, 5, 5)
    orders = counterfactual_map(numbers, "shuffled", seed=0)
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0, 0], orders[0, 1])
    assert torch.equal(counterfactual_map(weights, "shuffled", seed=0), shuffled)
    assert not torch.equal(counterfactual_map(weights, "shuffled", seed=1), shuffled)
    numbers = counterfactual_map(weights.new_zeros(1, 8, 40, 40), "random", seed=0)
    assert 0.98 < float(numbers.mean()) < 1.02
    assert 1.9 < float(numbers.max()) < 2


@pytest.mark.parametrize("kind", in_full(["shuffled", "random"], but="shuffled"))
def test_the_side_of_the_image_keeps_every_promise(kind: Any) -> None:
    strong = {**CausalMM.strong, "side": "both", "vision": kind}
    off = CausalMM(**CausalMM.off, side="both", layers=None)
    check_intervention(CausalMM(**strong), identity=off, families=["llava"])


def test_what_cannot_be_done_is_refused() -> None:
    model, batch = tiny_model("qwen2_vl"), collate(tiny_samples("qwen2_vl", (1,)))
    with (
        pytest.raises(UnsupportedError, match="no image encoder that can be looked into"),
        intervene(model, CausalMM(side="vision", layers=None)),
    ):
        streams.decode(model, batch)
    with pytest.raises(ValueError, match="seed must be from 0"):
        CausalMM(seed=-1)


@pytest.mark.full
def test_tiles_are_scaled_one_by_one() -> None:
    off = CausalMM(**CausalMM.off, side="vision", layers=None)
    edit = CausalMM(alpha=3.0, beta=0.0, side="vision", layers=None)
    check_intervention(edit, identity=off, families=["llava_next"])
