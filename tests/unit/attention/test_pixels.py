"""Pixels of prompts: noted where images are encoded, or kept by who calls generate."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from PIL import Image

import lvlmsal
from lvlmsal.attention import intervene
from lvlmsal.attention.pixels import watch_encoders
from lvlmsal.interventions.vcd import VCD
from lvlmsal.testing.tiny import tiny_inputs, tiny_lvlm, tiny_model


def test_watching_wraps_and_leaves_the_class_as_it_was() -> None:
    model: Any = tiny_model("llava")
    core, pixels = model.base_model, tiny_inputs("llava")["pixel_values"]
    before = dict(vars(type(core)))
    first: list[Any] = []
    second: list[Any] = []
    end_first = watch_encoders(model, lambda given, _: first.append(given))
    end_second = watch_encoders(model, lambda given, _: second.append(given))
    core.get_image_features(pixel_values=pixels)
    end_first()  # in another order than they began, as threads do
    core.get_image_features(pixel_values=pixels)
    copy.deepcopy(core).get_image_features(pixel_values=pixels)
    tiny_model("llava", seed=1).base_model.get_image_features(pixel_values=pixels)  # type: ignore[operator]
    end_second()
    core.get_image_features(pixel_values=pixels)
    assert (len(first), len(second)) == (1, 2)
    assert all(given["pixel_values"] is pixels for given in [*first, *second])
    assert dict(vars(type(core))) == before


@pytest.mark.parametrize("family", ["llava_next", "aya_vision"])
@pytest.mark.parametrize("beams", [1, 2])
def test_generate_keeps_what_a_scope_takes_from_the_encoder(family: str, beams: int) -> None:
    lvlm = lvlmsal.load(tiny_lvlm(family, dtype=torch.float64))
    images = [[Image.linear_gradient("L").resize(size)] for size in ((50, 30), (30, 64))]
    questions = ["What?", "And this one?"]
    edit = VCD(alpha=3.0, noise_step=900, beta=0.0)
    decoder = {"name": "beam", "num_beams": beams} if beams > 1 else "greedy"
    kept = lvlm.generate(images, questions, decoder=decoder, interventions=edit, max_new_tokens=4)
    generative: Any = lvlm.model
    inputs = lvlm.adapter.encode(images, questions)
    with intervene(lvlm.adapter, edit):
        noted = generative.generate(
            **inputs, num_beams=beams, do_sample=False, max_new_tokens=4, length_penalty=1.0
        )
    new = noted[:, inputs["input_ids"].shape[1] :].tolist()
    for answer, row in zip(kept, new, strict=True):
        assert row[: len(answer.token_ids)] == answer.token_ids
    plain = lvlm.generate(images, questions, decoder=decoder, max_new_tokens=4)
    assert [a.token_ids for a in plain] != [a.token_ids for a in kept]
