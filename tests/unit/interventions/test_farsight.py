"""FarSight against the matrix with registers above the diagonal, row by row, head by head."""

from __future__ import annotations

import math
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, AttentionSession, function, intervene, kernel
from lvlmsal.attention.kernel import PlainAttention
from lvlmsal.attention.stream import prepared
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.farsight import FarSight
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.tiny import TINY, TinySample, collate, tiny_model, tiny_samples
from tests import reference
from tests.unit.decoders.sgrs.test_blocks import sliding_model
from tests.unit.interventions.by_hand import Rule, attention_by_hand, decode
from tests.unit.interventions.test_closed_form import Largest

pytestmark = pytest.mark.slow

F64 = torch.float64
ENDLESS = 120
"""So many registers stand for endless ones: of the slowest decay here exp(-27) is left out."""


def rule_of(farsight: FarSight, prompt: int) -> Rule:
    """The matrix of one sample whose prompt has so many tokens."""

    def registers(row: int, head: int, heads: int) -> list[float]:
        endless = farsight.generated if row >= prompt - 1 else farsight.horizon == "endless"
        count = ENDLESS if endless else max(0, prompt - 1 - row)
        scores = []
        for distance in range(1, count + 1):
            score = -farsight.sigma * distance
            if farsight.form == "code":
                share = min(1.0, row / (prompt - 1))
                progressive = -farsight.sigma * (1 - 0.5 * share) * distance
                score = 0.5 * score + 0.5 * progressive
                if farsight.alibi:
                    score -= 2 ** (-8 * (head + 1) / heads) * distance
            scores.append(score + math.log(farsight.strength))
        return scores

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        assert len(scores) == 1
        if farsight.layers is not None and layer not in farsight.layers:
            return torch.softmax(scores.masked_fill(~visible, -torch.inf), -1)
        weights = torch.zeros_like(scores)
        _, heads, rows, _ = scores.shape
        for head in range(heads):
            for row in range(rows):
                keys = visible[0, 0, row].nonzero().flatten()
                behind = scores.new_tensor(registers(row, head, heads))
                both = torch.cat([scores[0, head, row, keys], behind])
                weights[0, head, row, keys] = torch.softmax(both, -1)[: len(keys)]
        return weights

    return rule


def wanted_logits(
    model: PreTrainedModel, sample: TinySample, answer: list[int], farsight: FarSight
) -> Tensor:
    """Logits of the whole prompt and of each token of an answer but the last."""
    rule = rule_of(farsight, sample.inputs["input_ids"].shape[1])
    with torch.no_grad(), attention_by_hand(model, rule):
        logits: Tensor = model(**reference.longer(sample.inputs, answer[:-1])).logits[0]
    return logits


def prompt_logits(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Logits of all rows of a prompt (B, L, V), its positions prepared as in decoding."""

    def run(ids: Tensor, kwargs: dict[str, Any]) -> Tensor:
        kwargs = {**kwargs, "logits_to_keep": 0}
        ready = model.prepare_inputs_for_generation(ids, is_first_iteration=True, **kwargs)
        logits: Tensor = model(**ready).logits
        return logits

    with torch.no_grad():
        return prepared(model, batch, run)


readings = st.builds(
    FarSight,
    sigma=st.floats(0.3, 3.0),
    form=st.sampled_from(["paper", "code"]),
    alibi=st.booleans(),
    horizon=st.sampled_from(["prompt", "endless"]),
    generated=st.booleans(),
    strength=st.floats(0.1, 30.0) | st.just(1.0),
    layers=st.none() | st.sets(st.integers(0, 1), min_size=1).map(sorted),
)


@settings(max_examples=30)
@given(
    family=st.sampled_from(sorted(TINY)),
    images=st.lists(st.integers(0, 2), min_size=1, max_size=2).map(tuple),
    farsight=readings,
    kv_heads=st.sampled_from([1, 4]),
    closed=st.booleans(),
    fused=st.booleans(),
    use_cache=st.booleans(),
    seed=st.integers(0, 50),
)
def test_decoding_is_the_matrix_with_registers(
    family: str,
    images: tuple[int, ...],
    farsight: FarSight,
    kv_heads: int,
    closed: bool,
    fused: bool,
    use_cache: bool,
    seed: int,
) -> None:
    """In a left-padded batch, explicitly and in closed form, with and without a cache."""
    model = tiny_model(family, kv_heads=kv_heads, dtype=F64)
    samples = tiny_samples(family, images, seed=seed, dtype=F64)
    batch = collate(samples)
    with (
        patch.object(function, "EXPLICIT_ROWS", 0 if closed else 10_000),
        patch.object(kernel, "_CPU_KERNEL", kernel._CPU_KERNEL if fused else None),
        intervene(model, farsight),
    ):
        tokens, logits = decode(model, batch, steps=3, use_cache=use_cache)
        prefill = prompt_logits(model, batch)
    for index, sample in enumerate(samples):
        wanted = wanted_logits(model, sample, tokens[index].tolist(), farsight)
        prompt = sample.inputs["input_ids"].shape[1]
        for found, part in ((prefill[index, -prompt:], wanted[:prompt]), (logits[index], wanted)):
            assert torch.allclose(found, part[-len(found) :], rtol=1e-8, atol=1e-8), index


def context_of(spans: list[TokenSpans], rows: int) -> AttentionContext:
    columns = torch.arange(rows)
    return AttentionContext(spans, columns, columns, 0, 1, 0)


def test_the_factor_of_three_rows_by_hand() -> None:
    """Scores of zero, so Z = 1, 2, 3; exp(-sigma) = 1/2, so R = 1/2 + 1/4, 1/2, 0."""
    spans = [TokenSpans(0, (), 4, 4), TokenSpans(1, (), 3, 3)]
    value = torch.ones(2, 1, 4, 2, dtype=F64)
    zero = torch.zeros_like(value)
    visible = torch.ones(4, 4).tril().bool()[None, None].repeat(2, 1, 1, 1)
    visible[1, :, :, 0] = False
    sums = kernel.log_sum_exps(zero, zero, visible, 1.0)
    plain = PlainAttention(zero, zero, value, value, sums, visible, 1.0)
    found = FarSight(sigma=math.log(2)).closed_form(plain, context_of(spans, 4))[:, 0, :, 0]
    alone = torch.tensor([1 / 1.75, 2 / 2.5, 1.0], dtype=F64)
    assert torch.allclose(found[1, 1:], alone)
    longer = torch.tensor([1 / 1.875, 2 / 2.75, 3 / 3.5, 1.0], dtype=F64)
    assert torch.allclose(found[0], longer)


def test_the_range_of_registers_in_the_codes_form() -> None:
    """The constant in the denominator is 0.82 in the paper's form, 0.24 to 0.81 in the code's."""
    like = torch.zeros(1, 32, 600)
    context = context_of([TokenSpans(0, (), 600, 600)], 600)
    paper = FarSight()._log_registers(like, context).exp()
    code = FarSight(form="code")._log_registers(like, context).exp()
    assert paper[0, 0, 0] == pytest.approx(1 / (math.e**0.8 - 1), rel=1e-5)
    assert code[0, 0, 0] == pytest.approx(1 / (math.e ** (0.8 + 2**-0.25) - 1), rel=1e-5)
    assert code[0, -1, 0] == pytest.approx(1 / (math.e ** (0.8 + 2**-8) - 1), rel=1e-5)
    assert paper[0, 0, -1] == code[0, 0, -1] == 0


def test_a_sliding_window_counts_only_what_a_row_sees() -> None:
    model = sliding_model(4)
    samples = tiny_samples("llava", (1, 0), dtype=F64)
    batch = collate(samples)
    farsight = FarSight(strength=3.0, generated=True)
    for rows in (0, 10_000):
        with intervene(model, farsight), patch.object(function, "EXPLICIT_ROWS", rows):
            logits = prompt_logits(model, batch)
        for index, sample in enumerate(samples):
            wanted = wanted_logits(model, sample, [5], farsight)
            assert torch.allclose(logits[index, -len(wanted) :], wanted, rtol=1e-9, atol=1e-9)


def test_rows_sum_to_less_than_one_but_the_last() -> None:
    model = tiny_model("llava", dtype=F64)
    sample = tiny_samples("llava", dtype=F64)[0]
    with (
        AttentionSession(model, [FarSight()]) as session,
        session.record([0, 1], full=True) as recording,
    ):
        model(**sample.inputs)
    for weights in recording.weights.values():
        sums = weights.sum(-1)
        assert (sums[..., :-1] < 1 - 1e-6).any()
        assert (sums[..., :-1] < 1).all()
        assert torch.allclose(sums[..., -1], torch.ones_like(sums[..., -1]))


def test_rows_that_predict_are_left_to_the_plain_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode steps cost nothing by default."""
    rows: list[int] = []
    original = function._edited

    def spy(given: Any, *others: Any) -> Tensor:
        rows.append(given.query.shape[2])
        return original(given, *others)

    monkeypatch.setattr(function, "_edited", spy)
    model = tiny_model("llava")
    batch = collate(tiny_samples("llava", (1, 0)))
    with intervene(model, FarSight()):
        decode(model, batch)
    assert rows == [batch["input_ids"].shape[1]] * 2
    rows.clear()
    with intervene(model, FarSight(generated=True)):
        decode(model, batch)
    assert rows == [batch["input_ids"].shape[1]] * 2 + [1] * 6


def test_where_a_gradient_is_asked_for_it_is_that_of_the_matrix() -> None:
    model = tiny_model("llava", dtype=F64).requires_grad_(True)
    try:
        sample = tiny_samples("llava", dtype=F64)[0]
        first = next(
            p for name, p in model.named_parameters() if "q_proj" in name and "vision" not in name
        )
        farsight = FarSight(strength=5.0)

        def gradient(scope: Any) -> Tensor:
            with scope, torch.enable_grad():
                loss = model(**sample.inputs).logits[0, -1].logsumexp(-1)
            return torch.autograd.grad(loss, [first])[0]

        with patch.object(function, "EXPLICIT_ROWS", 0):
            found = gradient(intervene(model, farsight))
        rule = rule_of(farsight, sample.inputs["input_ids"].shape[1])
        wanted = gradient(attention_by_hand(model, rule))
        assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-12)
    finally:
        model.requires_grad_(False)


def test_a_long_prefill_never_holds_the_attention_matrix() -> None:
    model = tiny_model("llava", heads=4, kv_heads=4)
    ids = torch.randint(5, 200, (1, 700))
    with torch.no_grad(), intervene(model, FarSight(form="code")), Largest() as closed:
        model(input_ids=ids, logits_to_keep=1)
    assert closed.numel < 4 * 700 * 700 / 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_type(dtype: torch.dtype) -> None:
    model = tiny_model("llava", dtype=dtype)
    batch = collate(tiny_samples("llava", (1, 0), dtype=dtype))
    with torch.no_grad(), intervene(model, FarSight()):
        explicit = model(**batch).logits
        with patch.object(function, "EXPLICIT_ROWS", 0):
            closed = model(**batch).logits
    assert closed.dtype == explicit.dtype == dtype
    left, right = (part[batch["attention_mask"].bool()].float() for part in (closed, explicit))
    assert (left - right).norm() < 0.05 * right.norm()


@pytest.mark.full
@pytest.mark.parametrize(
    "options",
    [
        {"generated": True, "horizon": "endless"},
        {"form": "code"},
        {"form": "code", "alibi": False, "generated": True, "layers": [1]},
    ],
)
def test_the_kit_passes_other_readings(options: dict[str, Any]) -> None:
    check_intervention(FarSight(**{"strength": 20.0, **options}), families=["qwen2_vl"])


def test_the_log_sum_exp_is_there_for_weights_only() -> None:
    context = context_of([TokenSpans(0, (), 3, 3)], 3)
    with pytest.raises(UnsupportedError, match="weights only"):
        _ = context.log_sum_exp


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.0}, "sigma must be above 0, got 0.0"),
        ({"sigma": math.nan}, "sigma must be above 0, got nan"),
        ({"strength": -1.0}, "strength must be at least 0 .*, got -1.0"),
        ({"form": "alibi"}, "form='alibi' is unknown"),
        ({"horizon": "far"}, "horizon='far' is unknown"),
        ({"layers": "deep"}, "not understood"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FarSight(**options)


@pytest.mark.parametrize("fused", [True, False])
def test_a_closed_form_of_a_single_row(fused: bool) -> None:
    """A decode step sees all keys, although no mask says so."""
    model, sample = tiny_model("internvl", dtype=F64), tiny_samples("internvl", (0,), dtype=F64)[0]
    farsight = FarSight(sigma=1.0, generated=True)
    with (
        patch.object(function, "EXPLICIT_ROWS", 0),
        patch.object(kernel, "_CPU_KERNEL", kernel._CPU_KERNEL if fused else None),
        intervene(model, farsight),
    ):
        tokens, logits = decode(model, sample.inputs, steps=3, use_cache=True)
    wanted = wanted_logits(model, sample, tokens[0].tolist(), farsight)
    assert torch.allclose(logits[0], wanted[-len(logits[0]) :], rtol=1e-8, atol=1e-8)
