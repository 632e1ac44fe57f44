"""Saliency where attention is more than a causal softmax: transformers' eager attention decides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import AttentionSession
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.model.shared_prefix import _sees_ahead
from lvlmsal.saliency import SaliencyOptions, block_saliency, full_graph_rows
from lvlmsal.testing.tiny import tiny_lvlm
from tests import other_decoders as other

pytestmark = pytest.mark.slow

ANSWER = [14, 15, 16, 17]
ROWS = ("predicting", "candidate")


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("kind", ["gemma2", "gpt_oss", "gemma3n", "gemma3", "paligemma"])
def test_rows_are_those_of_eager_attention(kind: str, row: Any) -> None:
    """In PaliGemma the rows of the prompt see the one that predicts the first token."""
    prefixes = {"paligemma": other.paligemma, "gemma3": other.gemma3}
    adapter: Any = prefixes[kind]() if kind in prefixes else other.llava(kind)
    model = adapter.model if kind in prefixes else adapter
    wanted, attention = other.saliency_by_autograd(model, ANSWER, row)
    inputs, response = other.inputs_of(model), torch.tensor([ANSWER])
    options = SaliencyOptions(row=row, layers=None)
    for size in (None, 1, 3):
        found = block_saliency(adapter, inputs, response, options, block_size=size)
        assert torch.allclose(found.maps["product"][0], wanted, rtol=1e-4, atol=1e-6)
        assert torch.allclose(found.attention[0], attention, rtol=1e-4, atol=1e-6)
    full = full_graph_rows(adapter, inputs, response, options)
    assert torch.allclose(full["product"][0], wanted, rtol=1e-4, atol=1e-6)


def test_a_prefix_sees_the_row_that_predicts_the_first_token() -> None:
    """What the first token would be without the full graph: through its own position alone."""
    adapter = other.paligemma()
    wanted, _ = other.saliency_by_autograd(adapter.model, ANSWER, "predicting")
    inputs = other.inputs_of(adapter.model)
    options = SaliencyOptions(row="predicting", layers=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lvlmsal.attention.recording_stream.bool", lambda found: False, raising=False)
        alone = block_saliency(adapter, inputs, torch.tensor([ANSWER]), options)
    assert float((alone.maps["product"][0, 0] - wanted[0]).abs().max()) > 1e-4
    assert torch.allclose(alone.maps["product"][0, 1:], wanted[1:], rtol=1e-4, atol=1e-6)


def test_a_prefix_that_a_window_would_cut_is_refused_where_its_last_row_is_run_again() -> None:
    adapter = adapter_for(*tiny_lvlm("paligemma2", dtype=torch.float64))
    options, answer = SaliencyOptions(row="predicting"), torch.tensor([ANSWER])
    picture = Image.linear_gradient("L").convert("RGB")
    fits, longer = (adapter.encode([[picture]], [text]) for text in ("Is it?", "Is it so?"))
    assert [inputs["input_ids"].shape[1] for inputs in (fits, longer)] == [24, 27]
    found = block_saliency(adapter, fits, answer, options).maps["product"]
    assert torch.allclose(found, full_graph_rows(adapter, fits, answer, options)["product"])
    with pytest.raises(UnsupportedError, match=r"window of 24.*read row='candidate'"):
        block_saliency(adapter, longer, answer, options)


def test_rejection_sampling_in_a_prefix_lm(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = other.paligemma()
    monkeypatch.setattr("lvlmsal.attention.session.adapter_for", lambda model: adapter)
    inputs = other.inputs_of(adapter.model)
    adapter.model.generate(**inputs, max_new_tokens=3, custom_generate=SGRS(row="candidate"))
    with pytest.raises(UnsupportedError, match="row='candidate'"):
        adapter.model.generate(**inputs, max_new_tokens=3, custom_generate=SGRS(row="predicting"))


@pytest.mark.parametrize("layers", [[2], [1, 3]])
def test_layers_that_share_keys_with_one_that_is_not_recorded(layers: list[int]) -> None:
    model = other.llava("gemma3n")
    wanted, _ = other.saliency_by_autograd(model, ANSWER, "candidate")
    options = SaliencyOptions(row="candidate", layers=layers)
    found = block_saliency(model, other.inputs_of(model), torch.tensor([ANSWER]), options)
    assert torch.allclose(found.maps["product"][0], wanted[:, layers], rtol=1e-4, atol=1e-6)


def test_only_a_prefix_that_sees_what_follows_is_not_shared() -> None:
    for adapter, ahead in ((other.paligemma(), True), (other.gemma3(), False)):
        assert _sees_ahead(adapter, other.inputs_of(adapter.model)) is ahead


@pytest.mark.parametrize("kind", ["diffllama", "deepseek_v3"])
def test_what_is_not_attended_to_is_not_recorded(kind: str) -> None:
    model = other.llava(kind)
    with pytest.raises(UnsupportedError, match="differential"):
        block_saliency(
            model, other.inputs_of(model), torch.tensor([ANSWER]), SaliencyOptions(layers=None)
        )


def test_token_types_go_on_as_generate_has_them() -> None:
    adapter = other.paligemma()
    longer = adapter.append(other.inputs_of(adapter.model), torch.tensor([ANSWER]))
    wanted = other.inputs_of(adapter.model, ANSWER)
    assert longer.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(longer[name], value), name


@pytest.mark.parametrize("training", ["dropout", "checkpoints"])
def test_training_mode_is_refused(training: str) -> None:
    model = other.llava("llama", attention_dropout=0.1 if training == "dropout" else 0.0).train()
    if training == "checkpoints":
        model.gradient_checkpointing_enable()
    inputs = other.inputs_of(model)
    with pytest.raises(UnsupportedError, match=r"model\.eval\(\)"):
        block_saliency(model, inputs, torch.tensor([ANSWER]), SaliencyOptions(layers=None))
    with pytest.raises(UnsupportedError, match=r"model\.eval\(\)"):
        full_graph_rows(model, inputs, torch.tensor([ANSWER]), SaliencyOptions(layers=None))


def test_training_mode_without_either_is_right() -> None:
    model = other.llava("llama")
    inputs, response = other.inputs_of(model), torch.tensor([ANSWER])
    wanted = block_saliency(model, inputs, response, SaliencyOptions(layers=None)).maps["product"]
    found = block_saliency(model.train(), inputs, response, SaliencyOptions(layers=None))
    assert torch.equal(found.maps["product"], wanted)


def test_embeddings_are_no_prompt() -> None:
    model = other.llava("llama")
    inputs = other.inputs_of(model)
    embeds = {
        "inputs_embeds": model.get_input_embeddings()(inputs["input_ids"]),
        "attention_mask": inputs["attention_mask"],
    }
    for way in (block_saliency, full_graph_rows):
        with pytest.raises(UnsupportedError, match="input_ids"):
            way(model, embeds, torch.tensor([ANSWER]), SaliencyOptions(layers=None))
    with pytest.raises(UnsupportedError, match="input_ids"):
        model.generate(**embeds, max_new_tokens=2, custom_generate=SGRS())


def test_rows_that_see_later_ones_are_not_recorded_together() -> None:
    model = other.llava("llama")
    for layer in model.get_decoder().layers:
        layer.self_attn.is_causal = False
    session = AttentionSession(model)
    with session, session.record([0, 1]), pytest.raises(UnsupportedError, match="later ones"):
        model(**other.inputs_of(model))
