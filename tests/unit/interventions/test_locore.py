"""LocoRE against a brute-force model that builds every n x n matrix position by position."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from lvlmsal.adapters.spans import TokenSpans, find_spans
from lvlmsal.attention import intervene
from lvlmsal.attention.context import AttentionContext
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.testing.tiny import IMAGE, TINY, VIDEO, TinySample, collate, tiny_model, tiny_samples
from lvlmsal.versions import CACHE
from tests import reference
from tests.tiers import FAMILIES

MODES = ("weights", "renormalized", "scores")
CONTEXTS = ("after_image", "output")
ROWS = ("all", "predicting")
F64 = torch.float64


def options_of(locore: LocoRE) -> dict[str, Any]:
    return {
        "beta": locore.beta,
        "window": locore.window,
        "mode": locore.mode,
        "layers": None if locore.layers is None else list(locore.layers),
        "heads": locore.heads,
        "rows": locore.rows,
    }


def decode(
    model: PreTrainedModel, batch: dict[str, Tensor], steps: int = 4, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """New tokens (B, T) and the logits that chose them (B, T, V), before generate rounds them."""
    logits: list[Tensor] = []
    hook = model.register_forward_hook(lambda *call: logits.append(call[2].logits[:, -1]))
    # Without a cache transformers would look for the pixels of a generated image token.
    plain = {"max_new_tokens": steps, "do_sample": False, "suppress_tokens": [2, IMAGE, VIDEO]}
    try:
        ids = model.generate(**batch, **plain, **kwargs)
    finally:
        hook.remove()
    return ids[:, batch["input_ids"].shape[1] :], torch.stack(logits, dim=1)


def brute_logits(
    model: PreTrainedModel, sample: TinySample, answer: list[int], locore: LocoRE
) -> Tensor:
    """Logits that predict each token of an answer: one unpadded pass over all of it, (T, V)."""
    rule = reference.rule_for([sample], locore.context, **options_of(locore))
    with torch.no_grad(), reference.brute_force(model, rule):
        logits = model(**reference.longer(sample.inputs, answer)).logits[0]
    first = sample.inputs["input_ids"].shape[1] - 1
    return logits[first : first + len(answer)]


def check_decoding(
    family: str, images: tuple[int, ...], locore: LocoRE, *, seed: int = 0, **kwargs: Any
) -> None:
    model = tiny_model(family, layers=3, dtype=F64)
    samples = tiny_samples(family, images, seed=seed, dtype=F64)
    with intervene(model, locore):
        tokens, logits = decode(model, collate(samples), **kwargs)
    for index, sample in enumerate(samples):
        wanted = brute_logits(model, sample, tokens[index].tolist(), locore)
        assert torch.allclose(logits[index], wanted, rtol=1e-9, atol=1e-9), (family, index)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_the_brute_force_model(
    family: str, mode: str, rows: str, context: str, use_cache: bool
) -> None:
    locore = LocoRE(beta=0.8, window=3, mode=mode, context=context, rows=rows)
    check_decoding(family, (1, 2, 0), locore, use_cache=use_cache)


@pytest.mark.slow
@settings(max_examples=30)
@given(
    family=st.sampled_from(sorted(TINY)),
    images=st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
    seed=st.integers(0, 100),
    use_cache=st.booleans(),
    locore=st.builds(
        LocoRE,
        beta=st.floats(-0.95, 3.0) | st.sampled_from([-0.8, -0.4, 0.0]),
        window=st.integers(1, 40),
        mode=st.sampled_from(MODES),
        context=st.sampled_from(CONTEXTS),
        layers=st.none() | st.sets(st.integers(0, 2), min_size=1).map(sorted),
        heads=st.none() | st.sets(st.integers(0, 3)).map(sorted),
        rows=st.sampled_from(ROWS),
    ),
)
def test_any_options_are_the_brute_force_model(
    family: str, images: tuple[int, ...], seed: int, use_cache: bool, locore: LocoRE
) -> None:
    check_decoding(family, images, locore, seed=seed, use_cache=use_cache)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_over_prompt_and_answer_is_the_brute_force_model(
    family: str, mode: str, rows: str
) -> None:
    """Teacher forcing: many rows at once, spans given because the answer is in the input."""
    context = "output" if rows == "all" else "after_image"
    locore = LocoRE(beta=0.6, window=4, mode=mode, context=context, rows=rows)
    model = tiny_model(family, layers=2, dtype=F64)
    sample = tiny_samples(family, dtype=F64)[0]
    answer = [9, 30, 41, 8, 77]
    inputs = reference.longer(sample.inputs, answer)
    start = sample.inputs["input_ids"].shape[1]
    spans = find_spans(inputs["input_ids"], None, [IMAGE], output_start=start)
    with torch.no_grad(), intervene(model, locore, spans=spans):
        logits = model(**inputs).logits[0, start - 1 : -1]
    wanted = brute_logits(model, sample, answer, locore)
    assert torch.allclose(logits, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(
    ("context", "rows"), [("after_image", "all"), ("output", "all"), ("after_image", "predicting")]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_beam_search_is_that_of_the_brute_force_model(
    family: str, context: str, rows: str, use_cache: bool
) -> None:
    model = tiny_model(family, layers=2, dtype=F64)
    samples = tiny_samples(family, (1, 2), dtype=F64)
    batch = collate(samples)
    locore = LocoRE(beta=1.5, window=4, context=context, rows=rows)
    search: dict[str, Any] = {
        "num_beams": 3,
        "max_new_tokens": 6,
        "do_sample": False,
        "output_scores": True,
        "suppress_tokens": [IMAGE, VIDEO],
        "return_dict_in_generate": True,
    }
    with intervene(model, locore):
        ours = model.generate(**batch, **search, use_cache=use_cache)
    rule = reference.rule_for(samples, context, **options_of(locore))
    with reference.brute_force(model, rule):
        theirs = model.generate(**batch, **search, use_cache=False)
    assert torch.equal(ours.sequences, theirs.sequences)
    assert torch.allclose(ours.sequences_scores, theirs.sequences_scores, rtol=1e-9)
    assert not torch.equal(ours.sequences, model.generate(**batch, **search).sequences)


def test_rows_by_hand() -> None:
    """One head over equal scores, worked out on paper.

    The prompt is (image, a, b, c) and d is generated, so the rows of c and d predict. With beta = 1
    and a window of 1 an edited row doubles the weight of the key before it where that is in J.
    """
    spans = (TokenSpans(pad=0, images=((0, 1),), output_start=4, length=5),)
    columns = torch.arange(5)
    visible = torch.ones(5, 5, dtype=F64).tril()
    plain = visible / visible.sum(-1, keepdim=True)
    third, fourth, fifth = 1 / 3, 1 / 4, 1 / 5
    predicting = [[fourth, fourth, 2 * fourth, fourth, 0], [fifth, fifth, fifth, 2 * fifth, fifth]]
    wanted = {
        "all": [*plain[:2].tolist(), [third, 2 * third, third, 0, 0], *predicting],
        "predicting": [*plain[:3].tolist(), *predicting],
    }
    for rows, matrix in wanted.items():
        context = AttentionContext(
            spans, columns, columns, layer=0, num_layers=1, first_query_column=0
        )
        found = LocoRE(beta=1.0, window=1, rows=rows).weights(plain[None, None], context)
        assert torch.allclose(found[0, 0], torch.tensor(matrix, dtype=F64)), rows


def test_only_the_rows_that_predict_leave_the_prompts_keys_alone() -> None:
    """What the cache holds of the question is the plain model's, and the answer is not."""
    model = tiny_model("llava", layers=3, dtype=F64)
    batch = collate(tiny_samples("llava", (1, 2), dtype=F64))
    width = batch["input_ids"].shape[1]

    def run(*edits: LocoRE) -> tuple[Tensor, Tensor]:
        cache = DynamicCache()
        with torch.no_grad(), intervene(model, *edits):
            logits = model(**batch, **{CACHE: cache}).logits[:, -1]
        return cache.layers[-1].keys[:, :, : width - 1], logits

    keys, logits = run()
    everywhere, of_everywhere = run(LocoRE(beta=1.0))
    predicting, of_predicting = run(LocoRE(beta=1.0, rows="predicting"))
    real = batch["attention_mask"][:, None, :-1, None].bool().expand_as(keys)
    assert torch.equal(predicting[real], keys[real])
    assert not torch.allclose(everywhere[real], keys[real])
    assert not torch.allclose(of_predicting, logits)
    assert not torch.allclose(of_predicting, of_everywhere)


@pytest.mark.parametrize("family", FAMILIES)
def test_beta_zero_is_bit_for_bit_the_plain_model(family: str) -> None:
    model = tiny_model(family)
    batch = collate(tiny_samples(family, (1, 2, 0)))
    plain = decode(model, batch)
    for mode in MODES:
        with intervene(model, LocoRE(beta=0.0, mode=mode)):
            edited = decode(model, batch)
        assert all(torch.equal(a, b) for a, b in zip(plain, edited, strict=True))


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_beta_zero_keeps_the_models_own_backend(implementation: str) -> None:
    model = tiny_model("llava", dtype=torch.bfloat16)
    model.set_attn_implementation({"text_config": implementation})
    batch = collate(tiny_samples("llava", (1, 0), dtype=torch.bfloat16))
    plain = decode(model, batch)
    with intervene(model, LocoRE(beta=0.0)):
        edited = decode(model, batch)
    assert all(torch.equal(a, b) for a, b in zip(plain, edited, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_query_does_not_see_what_comes_after_it(family: str) -> None:
    """Causality under the strongest edits: other tokens behind a row leave its logits alone."""
    model = tiny_model(family, dtype=F64)
    sample = tiny_samples(family, dtype=F64)[0]
    first = reference.longer(sample.inputs, [5, 6, 7])
    second = reference.longer(sample.inputs, [5, 88, 99])
    stand = sample.inputs["input_ids"].shape[1] + 1
    for mode in MODES:
        with torch.no_grad(), intervene(model, LocoRE(beta=3.0, window=50, mode=mode)):
            left, right = model(**first).logits, model(**second).logits
        assert torch.equal(left[:, :stand], right[:, :stand])
        assert not torch.equal(left[:, stand:], right[:, stand:])


def test_gains_multiply_where_sessions_nest() -> None:
    model = tiny_model("llava", dtype=F64)
    batch = collate(tiny_samples("llava", (1, 0), dtype=F64))
    with intervene(model, LocoRE(beta=0.5, window=4)), intervene(model, LocoRE(beta=1.0, window=4)):
        nested = decode(model, batch)
    with intervene(model, LocoRE(beta=0.5, window=4), LocoRE(beta=1.0, window=4)):
        together = decode(model, batch)
    with intervene(model, LocoRE(beta=2.0, window=4)):
        product = decode(model, batch)
    assert torch.equal(nested[1], together[1])
    assert torch.allclose(nested[1], product[1], rtol=1e-9)


@pytest.mark.parametrize("use_cache", [True, False])
def test_images_that_see_ahead_are_edited_alike(use_cache: bool) -> None:
    """CCA-LLaVA's visual tokens see later ones of their image, and have positions of their own."""
    check_decoding("cca_llava", (1, 2, 0), LocoRE(beta=0.8, window=3), use_cache=use_cache)


def test_decay_is_the_same_edit_with_a_gain_below_one() -> None:
    """Table 6 scales by r; r = 0.4 is beta = -0.6."""
    check_decoding("llava", (1,), LocoRE(beta=-0.6))


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_any_cache_of_generate_gives_the_same(cache: str) -> None:
    locore = LocoRE(beta=0.8, window=3, context="after_image")
    check_decoding("llava", (1, 0), locore, cache_implementation=cache, disable_compile=True)


def test_the_vision_tower_is_untouched() -> None:
    model = tiny_model("internvl")
    batch = collate(tiny_samples("internvl"))
    plain = model.get_image_features(batch["pixel_values"]).pooler_output
    kinds = {
        id(m): m.config._attn_implementation
        for m in model.model.vision_tower.modules()
        if hasattr(m, "config")
    }
    with intervene(model, LocoRE(beta=2.0)):
        edited = model.get_image_features(batch["pixel_values"]).pooler_output
        for module in model.model.vision_tower.modules():
            if hasattr(module, "config"):
                assert module.config._attn_implementation == kinds[id(module)]
        model(**batch)  # a scope without a pass of its model is an error
    assert torch.equal(plain, edited)


@pytest.mark.parametrize("head", [4, -1])
def test_a_head_that_the_model_lacks_is_named(head: int) -> None:
    model = tiny_model("llava")
    batch = collate(tiny_samples("llava"))
    with pytest.raises(ValueError, match=str(head)), intervene(model, LocoRE(heads=[0, head])):
        model(**batch)
    assert model.config.get_text_config()._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "options",
    [
        {"beta": float("nan")},
        {"beta": float("inf")},
        {"beta": -1.5},
        {"beta": -1.0, "mode": "renormalized"},
        {"window": 0},
        {"layers": "deep"},
        {"mode": "weight"},
        {"context": "image"},
        {"rows": "last"},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        LocoRE(**options)
