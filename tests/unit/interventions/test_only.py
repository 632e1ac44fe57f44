"""ONLY by hand, and against a plain restatement over the model's own weights and states."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, AttentionSession, intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.interventions.only import ONLY, textual
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.tiny import TinySample, collate, tiny_inputs, tiny_model, tiny_samples
from tests import reference
from tests.tiers import FAMILIES
from tests.unit.interventions.by_hand import attention_by_hand, decode
from tests.unit.interventions.siblings import check_blocks_of_sgrs_next_to_locore

pytestmark = pytest.mark.slow

F64 = torch.float64


def one_row(spans: list[TokenSpans], *heads: list[float]) -> Tensor:
    """The weights (H, k) of the last row of one sample that the heads leave."""
    keys = torch.arange(len(heads[0]))
    context = AttentionContext(spans, keys[-1:], keys, 0, 1, len(keys) - 1)
    return textual(torch.tensor(heads)[None, :, None], context)[0, :, 0]


def test_outliers_by_hand() -> None:
    # Padding, the first token, two words, three visual tokens, two words.
    spans = [TokenSpans(pad=1, images=((3, 6),), output_start=8, length=8)]
    row = [0.0, 0.05, 0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05]
    # Text (.4 .1 .1 .05): mean .1625, std .1601, so .4 goes; the first token is no part of it.
    found = one_row(spans, row)
    torch.testing.assert_close(found[0], torch.tensor([0.0, 0.05, 0.0, *row[3:]]))
    # Text (.25 .235 .05 .05): mean .14625, std .1113: nothing goes. With n for n - 1 .25 would.
    mild = [0.0, 0.05, 0.25, 0.235, 0.1, 0.1, 0.1, 0.05, 0.05]
    assert torch.equal(one_row(spans, mild)[0], torch.tensor(mild))


def test_heads_that_look_at_few_words_go_by_hand() -> None:
    spans = [TokenSpans(pad=0, images=((1, 4),), output_start=6, length=6)]
    # Text (.2 .2): ln 2; (.3 .1), std .1414, mean .2: nothing goes, and the entropy is .5623.
    # Images (.1 .1 .1): ln 3 in both.
    wide, narrow = [0.3, 0.1, 0.1, 0.1, 0.2, 0.2], [0.3, 0.1, 0.1, 0.1, 0.3, 0.1]
    found = one_row(spans, wide, narrow)
    assert torch.equal(found, torch.tensor([wide, [0.0] * 6]))
    # Two heads that are alike are both as their mean is.
    assert torch.equal(one_row(spans, wide, wide), torch.tensor([wide, wide]))


@pytest.mark.parametrize(
    ("image", "text"), [([0.0, 0.0, 0.0], [0.2, 0.2]), ([0.1, 0.1, 0.1], [0.0, 0.0])]
)
def test_a_group_without_weight_is_finite(image: list[float], text: list[float]) -> None:
    spans = [TokenSpans(pad=0, images=((1, 4),), output_start=6, length=6)]
    wide = [0.3, 0.1, 0.1, 0.1, 0.2, 0.2]
    found = one_row(spans, wide, [0.3, *image, *text])
    # An image without weight has an infinite entropy, text without any none: ratios of 0.
    assert torch.equal(found, torch.tensor([wide, [0.0] * 6]))


class Given(ONLY):
    """With other logits that are given."""

    other: Tensor

    def _other(self, count: int, context: LogitsContext) -> Tensor:
        return self.other[:, -count:]


def combined(only: dict[str, Any], logits: list[float], other: list[float]) -> list[float]:
    edit = Given(**only)
    object.__setattr__(edit, "other", torch.tensor([[other]]))
    spans = [TokenSpans(0, ((1, 2),), 3, 3)]
    context = LogitsContext(None, spans, 0, None, {})  # type: ignore[arg-type]  # not needed
    found: list[float] = edit.logits(torch.tensor([[logits]]), context)[0, 0].tolist()
    return found


def test_sum_and_contrast_by_hand() -> None:
    # p = (.6 .4), p' = (.5 .5): d = .2
    logits, other = [math.log(6), math.log(4)], [0.0, 0.0]
    below, above = {"gate": 0.21, "beta": 0.0}, {"gate": 0.19, "beta": 0.0}
    assert combined(below, logits, [1.0, 1.0]) == pytest.approx([math.log(6) + 3, math.log(4) + 3])
    assert combined(above, logits, other) == pytest.approx([2 * math.log(6), 2 * math.log(4)])
    assert combined({**above, "differ": 0.5}, logits, [1.0, 1.0]) == pytest.approx(
        [1.5 * math.log(6) - 0.5, 1.5 * math.log(4) - 0.5]
    )
    for options in (above, below, {**above, "control": True, "gate": 0.0}):
        assert combined(options, [1.0, -math.inf], other)[1] == -math.inf
    # the cut goes by the model's own logits
    assert combined({"gate": 0.21, "beta": 0.7}, logits, other)[1] == -math.inf


def test_the_control_is_a_temperature_under_the_cut() -> None:
    model, batch = tiny_model("llava"), tiny_inputs("llava", (1, 0))
    _, plain = decode(model, batch, steps=1)
    with intervene(model, ONLY(control=True, beta=0.5)):
        _, logits = decode(model, batch, steps=1)
    chances = plain[0].softmax(-1)
    kept = chances >= 0.5 * chances.amax(-1, keepdim=True)
    torch.testing.assert_close(logits[0], (4 * plain[0]).masked_fill(~kept, -torch.inf))
    assert torch.equal(logits[1], plain[1])


def test_rows_of_a_batch_have_gates_of_their_own() -> None:
    edit = Given(beta=0.0)
    logits = torch.tensor([[6.0, 4.0], [9.0, 1.0], [9.0, 1.0]]).log()[:, None]
    object.__setattr__(edit, "other", torch.ones(3, 1, 2))
    spans = [TokenSpans(0, images, 3, 3) for images in (((1, 2),), ((1, 2),), ())]
    context = LogitsContext(None, spans, 0, None, {})  # type: ignore[arg-type]  # not needed
    found = edit.logits(logits, context)
    torch.testing.assert_close(found[0], 2 * logits[0] - 1)  # d = .2 is not below .2, to rounding
    torch.testing.assert_close(found[1], 2 * logits[1] - 1)
    assert torch.equal(found[2], logits[2])


def wanted_logits(model: Any, sample: TinySample, answer: list[int], only: ONLY) -> Tensor:
    """Logits that choose each token of an answer, (T, V), one row after the other."""
    adapter = adapter_for(model)
    inputs = reference.longer(sample.inputs, answer)
    width = sample.inputs["input_ids"].shape[1]
    image = [key for start, end in sample.images for key in range(start, end)]
    kept: dict[str, Tensor] = {}

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        weights = torch.softmax(scores.masked_fill(~visible, -torch.inf), -1)
        if layer == only.layer:
            kept["weights"] = weights
        return weights

    def keep(module: Any, args: Any, output: Tensor) -> None:
        kept["values"] = output

    module: Any = adapter.attention_modules[only.layer]
    handle = module.v_proj.register_forward_hook(keep)
    with torch.no_grad(), attention_by_hand(model, rule):
        output = model(**inputs, output_hidden_states=True)
    handle.remove()
    rows = range(width - 1, width - 1 + len(answer))
    plain: Tensor = output.logits[0, rows]
    if not image:
        return plain
    heads, last = kept["weights"].shape[1], cast(Any, adapter.layers[-1])
    last_norm: Any = adapter.decoder.norm
    size = module.o_proj.in_features // heads
    shared = heads * size // kept["values"].shape[-1]
    found = []
    for place, row in enumerate(rows):
        words = [key for key in range(1, row + 1) if key not in image]
        left, ratios = [], []
        for head in range(heads):
            weights = kept["weights"][0, head, row].clone()
            entropies = []
            for group in (words, image):
                own = weights[group]
                own = torch.where(own > own.mean() + own.std(), 0.0, own)
                weights[group] = own
                share = own / own.sum()
                entropies.append(-(share * (share + 1e-6).log()).sum())
            left.append(weights)
            ratios.append(entropies[0] / entropies[1])
        mean = sum(ratios) / heads
        parts = []
        for head in range(heads):
            values = kept["values"][0, :, head // shared * size : (head // shared + 1) * size]
            parts.append((ratios[head] >= mean) * (left[head] @ values))
        with torch.no_grad():
            states = last.input_layernorm(module.o_proj(torch.cat(parts)))
            states = states + only.residual * output.hidden_states[-2][0, row]
            states = states + last.mlp(last.post_attention_layernorm(states))
            # transformers' last hidden state is the one behind the last norm
            other = model.lm_head(last_norm(states) + only.state * output.hidden_states[-1][0, row])
        own = plain[place]
        if (own.softmax(-1) - other.softmax(-1)).abs().sum() < only.gate:
            mixed = own + only.agree * other
        else:
            mixed = (1 + only.differ) * own - only.differ * other
        chances = own.softmax(-1)
        found.append(mixed.masked_fill(chances < only.beta * chances.max(), -torch.inf))
    return torch.stack(found)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(
    "only",
    [
        ONLY(gate=2.0, beta=0.5),
        ONLY(gate=0.0, differ=2.5, beta=0.0, residual=0.7, state=1.1, layer=1),
    ],
    ids=["sum", "contrast"],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_the_plain_restatement(family: str, only: ONLY, use_cache: bool) -> None:
    # in a padded batch of one image, none and two; qwen2_vl has two query heads for a key head
    model: Any = tiny_model(family, layers=3, dtype=F64)
    samples = tiny_samples(family, (1, 0, 2), dtype=F64)
    with intervene(model, only):
        tokens, logits = decode(model, collate(samples), use_cache=use_cache)
    for index, sample in enumerate(samples):
        wanted = wanted_logits(model, sample, tokens[index].tolist(), only)
        assert torch.equal(logits[index].isneginf(), wanted.isneginf())
        torch.testing.assert_close(logits[index], wanted, rtol=1e-5, atol=1e-5)


def test_the_models_own_stream_stays_as_it_is() -> None:
    model, batch = tiny_model("qwen2_vl"), tiny_inputs("qwen2_vl", (1, 0))
    layers: list[int] = []
    found = []
    for edits in ([], [ONLY(gate=0.0)]):
        session = AttentionSession(model, edits, edits_logits=False)
        with session, session.record([0, 1], full=True) as recording:
            found.append(model(**batch).logits.detach())
            layers = sorted(recording.weights)
    assert layers == [0, 1]
    assert torch.equal(*found)


def test_hooks_on_the_ffn_see_the_models_own_calls_alone() -> None:
    model, batch = tiny_model("llava"), tiny_inputs("llava", (1,))
    calls: list[Any] = []
    last: Any = adapter_for(model).layers[-1]
    handle = last.mlp.register_forward_hook(lambda *_: calls.append(None))
    with intervene(model, ONLY()):
        decode(model, batch, steps=3)
    handle.remove()
    assert len(calls) == 3


def test_blocks_and_beams_find_the_tokens_of_single_steps_next_to_locore() -> None:
    check_blocks_of_sgrs_next_to_locore(ONLY(**ONLY.strong))


@pytest.mark.parametrize("what", ["another norm", "no o_proj", "a scaled residual"])
def test_layers_of_another_make_are_refused(what: str) -> None:
    model: Any = tiny_model("llava")
    layer: Any = adapter_for(model).layers[-1]
    change: dict[str, Callable[[], None]] = {
        "another norm": lambda: setattr(layer, "pre_feedforward_layernorm", torch.nn.Identity()),
        "no o_proj": lambda: layer.self_attn.__delattr__("o_proj"),
        "a scaled residual": lambda: setattr(layer, "residual_multiplier", 0.5),
    }
    change[what]()
    with pytest.raises(UnsupportedError, match="use another method"), intervene(model, ONLY()):
        model(**tiny_inputs("llava", (1,)))


def test_a_layer_that_the_model_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'only': layers \[2\] are outside a model of 2 layers"):
        intervene(tiny_model("llava"), ONLY(layer=2))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"agree": -1.0}, "agree must be at least 0, got -1.0"),
        ({"gate": math.nan}, "gate must be at least 0, got nan"),
        ({"beta": 1.5}, "beta must be from 0 (no cut) to 1, got 1.5"),
    ],
)
def test_what_is_refused(options: dict[str, object], problem: str) -> None:
    (found,) = INTERVENTIONS.problems("only", options)
    assert found.startswith(f"intervention 'only': {problem}")
