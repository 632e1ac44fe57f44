"""Assisted decoding drafts tokens behind the prompt in the prompt's own pass."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from lvlmsal.attention import intervene
from lvlmsal.interventions.base import Intervention
from lvlmsal.interventions.dola import DoLa
from lvlmsal.interventions.farsight import FarSight
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.pai import PAI
from lvlmsal.interventions.vcd import VCD
from tests import other_decoders as other

pytestmark = pytest.mark.slow

# The last two tokens stood before, so what followed them there is drafted in the first pass.
PROMPT = [*other.PROMPT, 20, 21, 22, 23, 24, 20, 21]
EDITS: list[Intervention] = [
    LocoRE(beta=2.0, context="output"),
    FarSight(),
    DoLa(),
    PAI(alpha=3.0, gamma=1.5),
    VCD(alpha=3.0),
]


@cache
def model_of() -> PreTrainedModel:
    return other.llava("llama")


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: type(edit).__name__)
def test_drafts_are_no_part_of_the_prompt(edit: Intervention) -> None:
    model = model_of()
    inputs = other.inputs_of(model, prompt=PROMPT)
    options: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
    options |= {"output_logits": True, "return_dict_in_generate": True}
    widths = []

    def note(module: object, args: object, kwargs: dict[str, Any]) -> None:
        widths.append(kwargs["input_ids"].shape[1])

    with intervene(model, edit):
        wanted = model.generate(**inputs, **options)
        hook = model.register_forward_pre_hook(note, with_kwargs=True)
        found = model.generate(**inputs, **options, prompt_lookup_num_tokens=3)
        hook.remove()
    assert len(PROMPT) + 3 in widths, "nothing was drafted behind the prompt"
    assert torch.equal(found.sequences, wanted.sequences)
    for ours, theirs in zip(found.logits, wanted.logits, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)
