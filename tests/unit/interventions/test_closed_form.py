"""LocoRE without the attention matrix: the log-sum-exp way against the brute-force model."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lvlmsal.adapters.spans import find_spans
from lvlmsal.attention import function, intervene, kernel
from lvlmsal.attention.stream import prepared
from lvlmsal.interventions import locore as locore_module
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.testing.tiny import IMAGE, TINY, collate, tiny_model, tiny_samples
from tests import reference
from tests.unit.decoders.sgrs.test_blocks import sliding_model
from tests.unit.interventions.test_locore import brute_logits

F64 = torch.float64


@pytest.mark.slow
@given(
    family=st.sampled_from(sorted(TINY)),
    images=st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
    locore=st.builds(
        LocoRE,
        beta=st.floats(-0.9, 3.0),
        window=st.integers(1, 40),
        mode=st.sampled_from(["weights", "renormalized"]),
        context=st.sampled_from(["after_image", "output"]),
        layers=st.none() | st.sets(st.integers(0, 2), min_size=1).map(sorted),
        heads=st.none() | st.sets(st.integers(0, 3)).map(sorted),
        rows=st.sampled_from(["all", "predicting"]),
    ),
    kv_heads=st.sampled_from([1, 2, 4]),
    tile=st.sampled_from([1, 3, 128]),
    fused=st.booleans(),
    answer=st.lists(st.integers(5, 200), max_size=8),
    seed=st.integers(0, 50),
)
def test_the_closed_form_is_the_brute_force_model(
    family: str,
    images: tuple[int, ...],
    locore: LocoRE,
    kv_heads: int,
    tile: int,
    fused: bool,
    answer: list[int],
    seed: int,
) -> None:
    """A left-padded batch of prompts and answers in one pass, with and without the CPU's kernel."""
    model = tiny_model(family, layers=3, kv_heads=kv_heads, dtype=F64)
    samples = tiny_samples(family, images, seed=seed, dtype=F64)
    batch = collate(samples)
    start = batch["input_ids"].shape[1]
    more = torch.tensor([answer] * len(samples), dtype=torch.long)
    inputs = {**batch, "input_ids": torch.cat([batch["input_ids"], more], dim=1)}
    inputs["attention_mask"] = torch.cat([batch["attention_mask"], torch.ones_like(more)], dim=1)
    if "mm_token_type_ids" in batch:
        inputs["mm_token_type_ids"] = torch.cat(
            [batch["mm_token_type_ids"], torch.zeros_like(more)], dim=1
        )
    spans = find_spans(inputs["input_ids"], inputs["attention_mask"], [IMAGE], output_start=start)

    def all_logits(ids: Tensor, kwargs: dict[str, Any]) -> Tensor:
        kwargs = {**kwargs, "logits_to_keep": 0}
        ready = model.prepare_inputs_for_generation(ids, is_first_iteration=True, **kwargs)
        return model(**ready).logits

    used: list[int] = []
    original = LocoRE.closed_form

    def spy(self: LocoRE, plain: Any, context: Any) -> Tensor:
        used.append(context.layer)
        return original(self, plain, context)

    with (
        patch.object(function, "EXPLICIT_ROWS", 0),
        patch.object(locore_module, "_TILE", tile),
        patch.object(kernel, "_CPU_KERNEL", kernel._CPU_KERNEL if fused else None),
        patch.object(LocoRE, "closed_form", spy),
        torch.no_grad(),
        intervene(model, locore, spans=spans),
    ):
        logits = prepared(model, inputs, all_logits)
    acts = locore.beta != 0 and (locore.context == "after_image" or len(answer) > 1)
    assert used == ([] if not acts else list(locore.layers or range(3)))
    for index, sample in enumerate(samples):
        wanted = brute_logits(model, sample, [*answer, 7], locore)  # one more row: the last one's
        found = logits[index, start - 1 :]
        assert torch.allclose(found, wanted, rtol=1e-8, atol=1e-8), (family, index)


def test_a_sliding_window_hides_what_the_gain_would_reach() -> None:
    model = sliding_model(4)
    batch = collate(tiny_samples("llava", (1, 0), dtype=F64))
    locore = LocoRE(beta=1.0, window=12)
    with torch.no_grad(), intervene(model, locore):
        explicit = model(**batch).logits
        with patch.object(function, "EXPLICIT_ROWS", 0):
            closed = model(**batch).logits
    real = batch["attention_mask"].bool()
    assert torch.allclose(closed[real], explicit[real], rtol=1e-9, atol=1e-9)


class Largest(TorchDispatchMode):
    """Size of the largest tensor that a pass makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                self.numel = max(self.numel, value.numel())
        return result


@pytest.mark.parametrize("mode", ["weights", "renormalized"])
def test_a_long_prefill_never_holds_the_attention_matrix(mode: str) -> None:
    model = tiny_model("llava", heads=4, kv_heads=4)
    ids = torch.randint(5, 200, (1, 700))
    matrix = 4 * 699 * 700  # the first row has nothing before it
    with torch.no_grad(), intervene(model, LocoRE(beta=0.5, mode=mode)), Largest() as closed:
        model(input_ids=ids, logits_to_keep=1)
    with torch.no_grad(), intervene(model, LocoRE(beta=0.5, mode="scores")), Largest() as explicit:
        model(input_ids=ids, logits_to_keep=1)
    assert closed.numel < matrix / 4
    assert explicit.numel >= matrix


def test_where_a_gradient_is_asked_for_the_explicit_way_gives_it() -> None:
    """The kernel's log-sum-exp has no gradient: the closed form would give a wrong one."""
    model = tiny_model("llava", dtype=F64).requires_grad_(True)
    try:
        sample = tiny_samples("llava", dtype=F64)[0]
        weight = model.get_parameter("lm_head.weight")
        first = next(
            p for name, p in model.named_parameters() if "q_proj" in name and "vision" not in name
        )
        locore = LocoRE(beta=0.8, window=3)

        def gradient(scope: Any) -> Tensor:
            with scope, torch.enable_grad():
                loss = model(**sample.inputs).logits[0, -1].logsumexp(-1)
            return torch.autograd.grad(loss, [first, weight])[0]

        with patch.object(function, "EXPLICIT_ROWS", 0):
            found = gradient(intervene(model, locore))
        rule = reference.rule_for([sample], "after_image", beta=0.8, window=3, mode="weights")
        wanted = gradient(reference.brute_force(model, rule))
        assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-12)
    finally:
        model.requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_log_sum_exps_agree_with_the_definition(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query, key = (torch.randn(2, 3, n, 8, dtype=dtype) for n in (300, 300))
    scores = (query.double() * 0.3) @ key.double().transpose(2, 3)
    wanted = scores.masked_fill(~torch.ones(300, 300).tril().bool(), -torch.inf).logsumexp(-1)
    for found in (
        kernel.log_sum_exps(query, key, None, 0.3),
        kernel.plain_attention(query, key, key, None, 0.3).log_sum_exp,
    ):
        assert found.dtype == torch.float32
        assert torch.allclose(found.double(), wanted, rtol=1e-5, atol=1e-4)
