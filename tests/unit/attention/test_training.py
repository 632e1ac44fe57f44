"""Models in training mode are refused where that makes a difference, and looked at once a pass."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from lvlmsal.attention import AttentionSession, calls, function, intervene
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.saliency.block import block_saliency
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.testing.tiny import tiny_model
from lvlmsal.versions import CACHE
from tests.unit.attention.hooks_by_hand import recording_cache, run, text

LAYERS = 3


@pytest.fixture
def model() -> Any:
    return tiny_model("llava", layers=LAYERS, dtype=torch.float64)


def saliency(model: Any) -> Tensor:
    found = block_saliency(
        model, text(), torch.tensor([[5, 6, 7]]), SaliencyOptions(row="candidate", layers=None)
    )
    return found.maps["product"]


def test_a_flag_in_the_config_is_no_rate(model: Any) -> None:
    wanted = saliency(model)
    model.config.get_text_config().use_dropout = True
    assert torch.equal(saliency(model.train()), wanted)
    model.config.get_text_config().resid_pdrop = 0.1
    with pytest.raises(UnsupportedError, match=r"dropout of 0\.1"):
        saliency(model)


@pytest.mark.parametrize("trained", ["adapter", "attention"])
def test_parts_in_training_of_a_model_in_evaluation_are_seen(model: Any, trained: str) -> None:
    attention = model.get_decoder().layers[1].self_attn
    if trained == "adapter":  # such as LoRA puts into a model
        attention.o_proj = nn.Sequential(attention.o_proj, nn.Dropout(0.3))
        expected = r"dropout of 0\.3"
    else:
        attention.attention_dropout = model.config.get_text_config().attention_dropout = 0.2
        attention.training = True
        expected = r"dropout of 0\.2"
    assert not model.training
    for way in (saliency, _recorded):
        with pytest.raises(UnsupportedError, match=expected):
            way(model)
    assert saliency(model.eval()).isfinite().all()


def _recorded(model: Any) -> None:
    with AttentionSession(model) as session, session.record([0], full=True):
        model(**text())


def test_rates_of_the_config_are_not_those_of_adapters(model: Any) -> None:
    wanted = saliency(model)
    attention = model.get_decoder().layers[1].self_attn
    attention.o_proj.training = True
    model.config.get_text_config().attention_dropout = 0.2
    assert torch.equal(saliency(model), wanted)


def test_the_mode_is_looked_at_once_a_pass(model: Any) -> None:
    model.train()
    looks = patch.object(calls, "check_mode", wraps=calls.check_mode)
    with looks as looked, intervene(model, LocoRE(beta=1.0)):
        run(model, text())
        run(model, text())
    assert looked.call_count == 2


def test_whether_rows_see_ahead_is_asked_once_for_a_mask(model: Any) -> None:
    """Each time waits for the device."""
    ids = text()["input_ids"]
    columns = ids.shape[1]
    causal = torch.ones(1, 1, columns, columns, dtype=torch.bool).tril()
    asked = patch.object(function, "sees_ahead", wraps=function.sees_ahead)
    with asked as looked, AttentionSession(model) as session:
        with session.record(range(LAYERS)) as recording:
            model(input_ids=ids, attention_mask=causal, **{CACHE: recording_cache(recording)})
        assert len(recording.weights) == LAYERS
        assert looked.call_count == 1
        with (
            session.record([0]) as recording,
            pytest.raises(UnsupportedError, match="see later ones"),
        ):
            model(
                input_ids=ids,
                attention_mask=torch.ones_like(causal),
                **{CACHE: recording_cache(recording)},
            )
