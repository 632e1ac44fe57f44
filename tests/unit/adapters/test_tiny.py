"""The tiny models are fit to test with: repeatable, sensitive to their inputs, not uniform."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lvlmsal.adapters import adapter_for
from lvlmsal.testing.tiny import (
    IMAGE,
    TINY,
    VOCABULARY,
    collate,
    tiny_inputs,
    tiny_model,
    tiny_samples,
)
from lvlmsal.tiny.processors import MARKS, tiny_tokenizer
from tests.tiers import in_full

pytestmark = pytest.mark.slow


def run(model: Any, inputs: dict[str, torch.Tensor], **options: Any) -> Any:
    with torch.no_grad():
        return model(**inputs, **options)


@pytest.mark.parametrize("family", TINY)
def test_seed_decides_weights_and_inputs(family: str) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (tiny_model(family, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    inputs = tiny_inputs(family, (1, 2), seed=3)
    assert torch.equal(inputs["pixel_values"], tiny_inputs(family, (1, 2), seed=3)["pixel_values"])
    logits = [run(model, inputs).logits for model in (first, again, other)]
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2], atol=0.1)


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_shape_is_that_which_was_asked_for(family: str, kv_heads: int) -> None:
    adapter = adapter_for(tiny_model(family, layers=3, kv_heads=kv_heads, dtype=torch.float64))
    assert adapter.num_layers == 3
    assert adapter.model.dtype == torch.float64
    attention: Any = adapter.attention_modules[0]
    assert attention.k_proj.out_features * 4 == attention.q_proj.out_features * kv_heads


@pytest.mark.parametrize("family", TINY)
def test_double_precision_has_the_same_model(family: str) -> None:
    inputs = {
        dtype: tiny_inputs(family, (1,), dtype=dtype) for dtype in (torch.float32, torch.float64)
    }
    low, high = (run(tiny_model(family, dtype=dtype), inputs[dtype]).logits for dtype in inputs)
    assert high.dtype == torch.float64
    assert float((low - high).abs().max()) < 1e-4


UNEVEN = ["gemma3", "idefics2", "llava_next", "llava_onevision", "paligemma"]


@pytest.mark.parametrize("family", [*TINY, *in_full(UNEVEN, but=["idefics2", "llava_next"])])
def test_batch_generates_what_its_samples_do(family: str) -> None:
    model: Any = tiny_model(family)
    samples = tiny_samples(family, (0, 1, 2, 1), seed=5)
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    batch = collate(samples)
    together = model.generate(**batch, **options)[:, batch["input_ids"].shape[1] :]
    alone = [model.generate(**sample.inputs, **options)[0, -5:] for sample in samples]
    assert torch.equal(together, torch.stack(alone))


@pytest.mark.parametrize("family", TINY)
def test_layout_is_found_by_the_adapter(family: str) -> None:
    adapter = adapter_for(tiny_model(family))
    samples = tiny_samples(family, (2, 0, 1, 3), seed=7)
    inputs = collate(samples)
    assert len({sample.inputs["input_ids"].shape[1] for sample in samples}) > 1
    spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    assert [found.images for found in spans] == [sample.images for sample in samples]
    for row, sample in enumerate(samples):
        assert tuple(adapter.patch_grids(inputs, row)) == sample.grids


@pytest.mark.parametrize("family", TINY)
def test_attention_is_far_from_uniform_and_logits_are_apart(family: str) -> None:
    adapter = adapter_for(tiny_model(family))
    adapter.set_attention("eager")
    out = run(adapter.model, tiny_inputs(family, (1,)), output_attentions=True)
    rows = torch.stack(out.attentions)[:, 0, :, -1]
    assert float(rows.amax(-1).mean()) > 3 / rows.shape[-1]
    assert float(out.logits[0, -1].std()) > 0.5


@pytest.mark.parametrize("family", TINY)
def test_image_changes_the_answer(family: str) -> None:
    model, inputs = tiny_model(family), tiny_inputs(family, (1,))
    changed = {**inputs, "pixel_values": inputs["pixel_values"].flip(-1)}
    gap = run(model, inputs).logits[0, -1] - run(model, changed).logits[0, -1]
    assert float(gap.abs().max()) > 0.01


@pytest.mark.parametrize("family", TINY)
def test_ids_of_the_tokenizer_are_those_of_the_model(family: str) -> None:
    tokenizer = tiny_tokenizer(family)
    assert len(tokenizer) == VOCABULARY
    assert tokenizer.convert_tokens_to_ids(MARKS[family][0]) == IMAGE
    ids = tiny_inputs(family, (1, 2), seed=9)["input_ids"]
    assert int(ids.max()) < VOCABULARY
