"""Attention that is more than a softmax over causal scores is followed, or refused by name."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.attention import AttentionSession, explicit, function, intervene
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.farsight import FarSight
from lvlmsal.interventions.locore import LocoRE
from tests import other_decoders as other
from tests.reference import Rule

BESIDE = ("gemma2", "gpt_oss")
ANSWER = [14, 15, 16]


def logits_of(model: PreTrainedModel, inputs: dict[str, Any], **options: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(**inputs, **options).logits[0]
    return logits


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


def alibi(columns: int) -> Tensor:
    """A causal mask with a bias that grows with the distance, (1, 1, n, n)."""
    row, column = torch.arange(columns)[:, None], torch.arange(columns)
    bias = -0.3 * (row - column).double()
    return bias.masked_fill(column > row, -torch.inf)[None, None]


@pytest.mark.parametrize(
    "edit", [LocoRE(beta=1e-9), LocoRE(beta=1e-9, layers=[1]), FarSight(strength=1e-9)]
)
@pytest.mark.parametrize("kind", [*BESIDE, "diffllama", "deepseek_v3"])
@pytest.mark.parametrize("closed", [False, True])
def test_an_edit_of_no_strength_is_the_plain_model(kind: str, edit: Any, closed: bool) -> None:
    model = other.llava(kind)
    inputs = other.inputs_of(model, ANSWER)
    with other.attention(model, "eager"):
        wanted = logits_of(model, inputs)
    short = patch.multiple(function, EXPLICIT_ROWS=2 if closed else 64)
    with short, patch.object(explicit, "CHUNK", 5), intervene(model, edit):
        found = logits_of(model, inputs)
    assert apart(found, wanted) < 1e-6  # transformers' softmax is in float32


@pytest.mark.parametrize("mode", ["weights", "renormalized", "scores"])
@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("closed", [False, True])
def test_strong_edits_are_their_restatement(kind: str, mode: Any, closed: bool) -> None:
    model = other.llava(kind)
    inputs = other.inputs_of(model, ANSWER)
    start = other.PROMPT.index(other.IMAGE) + other.PATCHES
    wanted = other.restated_logits(model, inputs, Rule(1.5, 4, mode, [start], [0], [0]))
    short = patch.multiple(function, EXPLICIT_ROWS=2 if closed else 64)
    edit = LocoRE(beta=1.5, window=4, mode=mode)
    with short, patch.object(explicit, "CHUNK", 5), intervene(model, edit):
        found = logits_of(model, inputs)
    assert apart(found, wanted) < 1e-9
    assert apart(wanted, logits_of(model, inputs)) > 1e-2


@pytest.mark.parametrize("kind", BESIDE)
def test_generation_is_that_of_the_plain_model(kind: str) -> None:
    model = other.llava(kind)
    inputs = other.inputs_of(model)
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}
    options |= {"output_logits": True, "return_dict_in_generate": True}
    wanted = model.generate(**inputs, **options)
    for edits in ((LocoRE(beta=1e-9),), ()):  # a session without edits holds the model as well
        with AttentionSession(model, edits):
            found = model.generate(**inputs, **options)
        assert torch.equal(found.sequences, wanted.sequences)
        assert apart(torch.stack(found.logits), torch.stack(wanted.logits)) < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("heads", [1, 4])
def test_sinks_in_half_precision_with_grouped_heads(dtype: torch.dtype, heads: int) -> None:
    model = other.llava("gpt_oss", dtype, num_key_value_heads=heads)
    inputs = other.inputs_of(model, ANSWER)
    wanted = logits_of(model, inputs)
    for rows in (2, 64):
        short = patch.multiple(function, EXPLICIT_ROWS=rows)
        with short, intervene(model, LocoRE(beta=1e-4)):
            assert apart(logits_of(model, inputs).float(), wanted.float()) < 0.05


def test_an_additive_mask_is_added() -> None:
    model = other.llava("llama")
    inputs = other.inputs_of(model, ANSWER)
    inputs["attention_mask"] = alibi(inputs["input_ids"].shape[1])
    with other.attention(model, "eager"), torch.no_grad():
        plain = model(**inputs, output_attentions=True)
    assert apart(plain.logits[0], logits_of(model, other.inputs_of(model, ANSWER))) > 1e-2
    start = other.PROMPT.index(other.IMAGE) + other.PATCHES
    strong = other.restated_logits(model, inputs, Rule(1.5, 4, "weights", [start], [0], [0]))
    for rows in (2, 64):
        short = patch.multiple(function, EXPLICIT_ROWS=rows)
        with short, patch.object(explicit, "CHUNK", 5):
            with intervene(model, LocoRE(beta=1e-9)):
                assert apart(logits_of(model, inputs), plain.logits[0]) < 1e-6
            with intervene(model, LocoRE(beta=1.5, window=4)):
                assert apart(logits_of(model, inputs), strong) < 1e-9
    session = AttentionSession(model)
    with session, session.record([0, 1, 2], full=True) as recording:
        logits = model(**inputs).logits[0]
    assert apart(logits.detach(), plain.logits[0]) < 1e-6
    for layer, weights in recording.weights.items():
        assert apart(weights, plain.attentions[layer]) < 1e-6


@pytest.mark.parametrize("least", [torch.finfo(torch.float64).min, -torch.inf])
def test_a_float_mask_that_only_hides_is_a_boolean_one(least: float) -> None:
    model = other.llava("llama")
    inputs = other.inputs_of(model, ANSWER)
    with intervene(model, LocoRE(beta=1.0)):
        wanted = logits_of(model, inputs)
        columns = inputs["input_ids"].shape[1]
        hidden = torch.ones(1, 1, columns, columns, dtype=torch.bool).triu(1)
        inputs["attention_mask"] = torch.zeros(hidden.shape, dtype=other.F64)
        inputs["attention_mask"][hidden] = least
        assert apart(logits_of(model, inputs), wanted) < 1e-12


def test_unknown_arguments_are_refused_by_name_where_they_may_matter() -> None:
    model = other.llava("llama")
    inputs, slopes = other.inputs_of(model), torch.ones(4)
    wanted = logits_of(model, inputs)
    session = AttentionSession(model)
    with intervene(model, LocoRE(beta=1.0)), pytest.raises(UnsupportedError, match="'slopes'"):
        logits_of(model, inputs, slopes=slopes)
    refused = pytest.raises(UnsupportedError, match="'slopes'")
    with session, session.record([0], full=True), refused:
        model(**inputs, slopes=slopes)
    with session:  # the model is on sdpa, which drops them
        assert torch.equal(logits_of(model, inputs, slopes=slopes), wanted)
    with intervene(model, LocoRE(beta=1.0)):
        logits_of(model, inputs, slopes=None)


def test_a_model_that_is_not_on_sdpa_may_follow_what_sdpa_drops() -> None:
    model = other.llava("llama")
    model.set_attn_implementation({"text_config": "eager"})
    inputs = other.inputs_of(model)
    with AttentionSession(model), pytest.raises(UnsupportedError, match="'slopes'"):
        logits_of(model, inputs, slopes=torch.ones(4))


def test_an_attention_of_the_users_own_is_not_replaced() -> None:
    model = other.llava("llama")
    inputs = other.inputs_of(model)
    refused = pytest.raises(UnsupportedError, match=other.NAME)
    with other.attention(model, other.NAME):
        with refused, intervene(model, LocoRE(beta=1.0)):
            pass
        assert model.config.text_config._attn_implementation == other.NAME
        logits_of(model, inputs)


def test_attention_that_is_not_causal() -> None:
    model = other.llava("llama")
    causal = logits_of(model, other.inputs_of(model))
    for layer in model.get_decoder().layers:
        layer.self_attn.is_causal = False
    inputs = other.inputs_of(model)
    wanted = logits_of(model, inputs)
    assert apart(causal, wanted) > 1e-2
    for rows in (2, 64):
        with patch.multiple(function, EXPLICIT_ROWS=rows), intervene(model, LocoRE(beta=1e-12)):
            assert apart(logits_of(model, inputs), wanted) < 1e-9


def test_dropout_of_the_attention_is_not_dropped() -> None:
    model = other.llava("llama", attention_dropout=0.2).train()
    inputs = other.inputs_of(model)
    with intervene(model, LocoRE(beta=1.0)), pytest.raises(UnsupportedError, match=r"eval\(\)"):
        logits_of(model, inputs)
    session = AttentionSession(model)
    with session, pytest.raises(UnsupportedError, match=r"eval\(\)"), session.record([0]):
        pass
    model.eval()
    with intervene(model, LocoRE(beta=1.0)):
        logits_of(model, inputs)


def test_checkpoints_would_run_layers_outside_of_the_scope() -> None:
    model = other.llava("llama").train()
    inputs = other.inputs_of(model)
    with intervene(model, LocoRE(beta=1.0)):
        wanted = logits_of(model, inputs)  # training mode alone changes nothing here
        model.gradient_checkpointing_enable()
        with pytest.raises(UnsupportedError, match="gradient_checkpointing_disable"):
            logits_of(model, inputs)
        model.eval()
        assert torch.equal(logits_of(model, inputs), wanted)
