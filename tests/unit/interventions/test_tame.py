"""TAME by hand, and against loops over the outputs of the model's own projections."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.arguments import Call
from lvlmsal.attention.explicit import apply, weights_of
from lvlmsal.attention.kernel import plain_attention
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.none import NoIntervention
from lvlmsal.interventions.tame import TAME, etas
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.tiny import collate, tiny_inputs, tiny_model, tiny_samples
from tests import reference
from tests.tiers import FAMILIES, in_full
from tests.unit.interventions.by_hand import Rule, attention_by_hand, decode
from tests.unit.interventions.siblings import check_blocks_of_sgrs_next_to_locore

pytestmark = pytest.mark.slow

F64 = torch.float64


def edited(tame: TAME, call: Call, spans: Sequence[TokenSpans], first: int, state: Any) -> Tensor:
    """Scores of one, (B, H, q, k), after the edit."""
    rows, keys = call.query.shape[2], call.key.shape[2]
    columns = torch.arange(keys)
    own = columns[first : first + rows]
    context = AttentionContext(
        spans, own, columns, 0, 1, first, states={id(tame): state}, call=call
    )
    return tame.scores(torch.ones(*call.query.shape[:3], keys), context)


def call_of(queries: list[list[float]], keys: list[list[float]]) -> Call:
    """Queries and keys of one sample with heads of one dimension, by head and column."""
    query, key = (torch.tensor(rows)[None, ..., None] for rows in (queries, keys))
    return Call(query, key, key, 1.0)


def test_the_factor_by_hand() -> None:
    # Two query heads for one key head; a padded column, two of the prompt, one generated.
    e, tame = math.e, TAME()
    state: dict[int, Tensor] = {}
    spans = [TokenSpans(pad=1, images=(), output_start=2, length=2)]
    key = e**2 / 2**0.5
    first = call_of([[9.0, e, 0.0], [9.0, e / 2, e * 3**0.5 / 2]], [[9.0, key, key]])
    # Tq = (e^2 + e^2) / 2, Tk = e^4: (1 + .8 / 2) (1 + .8 / 4)
    found = edited(tame, first, spans, 0, state)
    torch.testing.assert_close(found[:, :, 1:], torch.full((1, 2, 2, 3), 1.68))
    # the token behind it: Tq = e^4, and Tk = e^4 + e^6 - e^4
    again = call_of([[e**2], [e**2]], [[9.0, 0.0, e**2, (e**6 - e**4) ** 0.5]])
    longer = [TokenSpans(pad=1, images=(), output_start=2, length=3)]
    found = edited(tame, again, longer, 3, state)
    torch.testing.assert_close(found, torch.full((1, 2, 1, 4), (1 + 0.8 / 4) * (1 + 0.8 / 6)))
    # the prompt's last row, run once more by itself, keeps the factor of the prompt
    found = edited(tame, call_of([[5.0], [5.0]], [[9.0, 1.0, 7.0]]), spans, 2, state)
    torch.testing.assert_close(found, torch.full((1, 2, 1, 3), 1.68))


def test_the_card_by_hand() -> None:
    factor = TAME()._scaled(torch.tensor(math.e**2), torch.tensor(math.e**4))
    weights = (factor * torch.tensor([1.0, 0.0])).softmax(-1)
    torch.testing.assert_close(weights[0], torch.tensor(0.8429), atol=5e-5, rtol=0)


def test_small_sums_give_no_large_factor() -> None:
    for total in (0.0, 0.5, 1.0, 1.0001, 2.7):
        assert TAME()._scaled(torch.tensor(total), torch.tensor(total)).item() <= 1.8**2 + 1e-6


@contextmanager
def projections(model: Any, found: dict[tuple[int, str], Tensor]) -> Iterator[None]:
    """Note outputs of the projections of queries and keys in the last pass, (B, n, D)."""

    def keep(layer: int, name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Tensor) -> None:
            found[layer, name] = output

        return hook

    handles = [
        module.get_submodule(name).register_forward_hook(keep(layer, name))
        for layer, module in enumerate(adapter_for(model).attention_modules)
        for name in ("q_proj", "k_proj")
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def rule_of(found: dict[tuple[int, str], Tensor], width: int, g: float, heads: int) -> Rule:
    """The weights of one unpadded sample whose prompt has this width; no rotary embedding."""

    def factor(queries: float, keys: float) -> float:
        first, second = (1 + g / math.log(max(total, math.e)) for total in (queries, keys))
        return first * second

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        size = scores.shape[2]
        head_width = found[layer, "q_proj"].shape[-1] // scores.shape[1]
        sums = {
            name: [float(row.square().sum()) for row in found[layer, name][0]]
            for name in ("q_proj", "k_proj")
        }
        rows = [total / scores.shape[1] for total in sums["q_proj"]]
        keys = [total / heads for total in sums["k_proj"]]
        assert found[layer, "k_proj"].shape[-1] == heads * head_width
        of_prompt = factor(sum(rows[:width]), sum(keys[:width]))
        edited = scores.clone()
        for row in range(size):
            own = of_prompt if row < width else factor(rows[row], sum(keys[: row + 1]))
            edited[0, :, row] *= own
        return torch.softmax(edited.masked_fill(~visible, -torch.inf), -1)

    return rule


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_the_loop_over_projections(family: str, use_cache: bool) -> None:
    # Weights that are larger than those of a fresh model, so that T is above e in all rows.
    model: Any = tiny_model(family, dtype=F64)
    with torch.no_grad():
        for module in adapter_for(model).attention_modules:
            of_layer: Any = module
            of_layer.q_proj.weight.mul_(6.0)
            of_layer.k_proj.weight.mul_(6.0)
    samples = tiny_samples(family, (1, 0, 2), dtype=F64)
    with intervene(model, TAME(strength=3.0)):
        tokens, logits = decode(model, collate(samples), use_cache=use_cache)
    _, plain = decode(model, collate(samples))
    assert not torch.allclose(logits, plain, atol=1e-2)
    heads = model.config.get_text_config().num_key_value_heads
    for index, sample in enumerate(samples):
        width = sample.inputs["input_ids"].shape[1]
        longer = reference.longer(sample.inputs, tokens[index].tolist())
        found: dict[tuple[int, str], Tensor] = {}
        rule = rule_of(found, width, 3.0, heads)
        with projections(model, found), torch.no_grad(), attention_by_hand(model, rule):
            wanted = model(**longer).logits[0, -5:-1]
        torch.testing.assert_close(logits[index], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_eta_is_the_trace_of_the_square(family: str) -> None:
    model = tiny_model(family, dtype=F64)
    adapter = adapter_for(model)
    found = etas(adapter)
    config: Any = adapter.text_config
    width = config.hidden_size // config.num_attention_heads
    for layer, module in enumerate(adapter.attention_modules):
        parts: Any = module
        query, key = parts.q_proj.weight, parts.k_proj.weight
        for head in range(config.num_attention_heads):
            other = head // (config.num_attention_heads // config.num_key_value_heads)
            of_query = query[head * width : (head + 1) * width]
            product = of_query.T @ key[other * width : (other + 1) * width]
            wanted = (product @ product).trace().detach()
            torch.testing.assert_close(found[layer, head].double(), wanted, rtol=1e-4, atol=1e-7)


def test_the_papers_reading_scales_each_head() -> None:
    model, batch = tiny_model("qwen2_vl", dtype=F64), tiny_inputs("qwen2_vl", (1,), dtype=F64)
    found = etas(adapter_for(model)).double()
    factors = torch.ones_like(found)
    for place in (found > 0).nonzero().tolist():
        eta = found[tuple(place)]
        factors[tuple(place)] = 0.5 * math.log(eta + 1e-6) / math.sqrt(eta)
    assert (found <= 0).any()  # left alone, for they have no logarithm

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        scaled = scores * factors[layer][:, None, None]
        return torch.softmax(scaled.masked_fill(~visible, -torch.inf), -1)

    with intervene(model, TAME(reading="paper", gamma=0.5)):
        tokens, logits = decode(model, batch)
    with attention_by_hand(model, rule):
        wanted, wanted_logits = decode(model, batch, use_cache=False)
    assert torch.equal(tokens, wanted)
    torch.testing.assert_close(logits, wanted_logits, rtol=1e-5, atol=1e-5)


def test_the_papers_reading_needs_plain_projections() -> None:
    model: Any = tiny_model("llava")
    module: Any = adapter_for(model).attention_modules[1]
    kept = module.q_proj
    module.q_proj = torch.nn.Sequential(kept)
    with (
        pytest.raises(UnsupportedError, match="has no plain q_proj in memory"),
        intervene(model, TAME(reading="paper", gamma=1.0)),
    ):
        model(**tiny_inputs("llava", (1,)))
    module.q_proj, module.q_norm = kept, torch.nn.Identity()
    with pytest.raises(UnsupportedError, match="a norm stands between"):
        etas(adapter_for(model))


@pytest.mark.parametrize("sink", [None, torch.tensor([0.5, -1.0, 2.0, 0.0])])
def test_the_closed_form_is_that_of_the_weights(sink: Tensor | None) -> None:
    draw, tame = torch.Generator().manual_seed(0), TAME(strength=3.0)
    query = torch.randn(1, 4, 9, 8, generator=draw)
    key, value = (torch.randn(1, 2, 9, 8, generator=draw) for _ in range(2))
    seen = torch.ones(1, 1, 9, 9, dtype=torch.bool).tril()
    columns = torch.arange(9)
    spans = [TokenSpans(0, (), 7, 9)]
    outputs = []
    for closed in (False, True):
        context = AttentionContext(spans, columns, columns, 0, 1, 0, states={id(tame): {}})
        if closed:
            plain = plain_attention(query, key, value, seen, 0.4, sink)
            outputs.append(tame.closed_form(plain, context))
        else:
            call = Call(query, key, value, 0.4, seen, sink=sink)
            outputs.append(apply(weights_of(call, [tame], context), value))
    torch.testing.assert_close(*outputs)


def test_models_with_a_soft_cap_are_handed_whole_passes() -> None:
    # more rows than are computed at a time: their sums are those of all of them
    model, batch = tiny_model("paligemma2"), tiny_inputs("paligemma2", (1,))
    adapter = adapter_for(model)
    assert adapter.text_config.to_dict()["attn_logit_softcapping"]
    inputs = adapter.append(batch, 4 + torch.arange(300)[None] * 7 % 200)
    with intervene(model, TAME(strength=3.0)):
        explicit = model(**inputs, use_cache=False).logits.detach()  # with a graph
        with torch.no_grad():
            found = model(**inputs, use_cache=False).logits
    torch.testing.assert_close(found, explicit, rtol=1e-4, atol=1e-4)


def test_blocks_of_sgrs_find_the_tokens_of_single_steps_next_to_locore() -> None:
    check_blocks_of_sgrs_next_to_locore(TAME(**TAME.strong))


@pytest.mark.parametrize("family", in_full(["llava", "qwen2_vl"], but="qwen2_vl"))
def test_every_promise_of_the_papers_reading(family: str) -> None:
    tame = TAME(reading="paper", gamma=4.0)
    check_intervention(tame, identity=NoIntervention(), families=[family])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"strength": -1.0}, "strength must be at least 0 (no edit), got -1.0"),
        (
            {"reading": "paper"},
            "gamma is for reading='paper', and must be given there: got gamma=N",
        ),
        (
            {"gamma": 1.0},
            "gamma is for reading='paper', and must be given there: got gamma=1.0 with",
        ),
        ({"reading": "paper", "gamma": math.inf}, "gamma must be a finite number, got inf"),
    ],
)
def test_what_is_refused(options: dict[str, object], problem: str) -> None:
    found = INTERVENTIONS.problems("tame", options)
    assert any(problem in line for line in found), found
