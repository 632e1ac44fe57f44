"""Rows of a prompt by themselves: what was collated comes apart again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.prompt import Prompt
from lvlmsal.attention.prompt_rows import repeats, select
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import HiddenStateIntervention
from lvlmsal.testing.tiny import TinySample, collate, tiny_model, tiny_samples
from tests.tiers import FAMILIES

TEXT = ("input_ids", "attention_mask", "mm_token_type_ids")


class Keeps(HiddenStateIntervention):
    """Keeps the prompts that it is shown."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    def prepare(self, prompt: Prompt) -> None:
        self.prompts.append(prompt)

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        return states


def prompt_of(family: str, samples: list[TinySample], **options: Any) -> Prompt:
    model, keeps = tiny_model(family), Keeps()
    generative: Any = model
    with intervene(model, keeps):
        generative.generate(**collate(samples), max_new_tokens=1, do_sample=False, **options)
    return keeps.prompts[0]


def same(found: dict[str, Tensor], sample: TinySample, pad: int) -> bool:
    cut = {name: value[:, pad:] if name in TEXT else value for name, value in found.items()}
    wanted = sample.inputs
    return set(cut) == set(wanted) and all(torch.equal(cut[k], v) for k, v in wanted.items())


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_has_its_own_pixels(family: str, beams: int) -> None:
    samples = tiny_samples(family, (2, 0, 1), seed=3)
    prompt = prompt_of(family, samples, num_beams=beams)
    assert len(prompt.spans) == 3 * beams
    for row, spans in enumerate(prompt.spans):
        assert same(select(prompt, [row]), samples[row // beams], spans.pad)
        assert repeats(prompt, row) == (row % beams != 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_come_in_the_order_that_is_asked_for(family: str) -> None:
    samples = tiny_samples(family, (2, 0, 1), seed=3)
    prompt = prompt_of(family, samples)
    found = select(prompt, [2, 0])
    width = prompt.inputs["input_ids"].shape[1]
    pads = [width - samples[index].inputs["input_ids"].shape[1] for index in (2, 0)]
    wanted = collate([samples[2], samples[0]])
    assert torch.equal(found["input_ids"][:, min(pads) :], wanted["input_ids"])
    assert torch.equal(found["pixel_values"], wanted["pixel_values"])
    if "image_grid_thw" in wanted:
        assert torch.equal(found["image_grid_thw"], wanted["image_grid_thw"])


def test_the_same_text_about_another_image_is_no_repetition() -> None:
    sample, other = tiny_samples("llava", (1, 1))
    other = TinySample(
        {**sample.inputs, "pixel_values": other.inputs["pixel_values"]}, sample.images, sample.grids
    )
    prompt = prompt_of("llava", [sample, other, other])
    assert [repeats(prompt, row) for row in range(3)] == [False, False, True]


def test_what_cannot_be_told_apart_is_said() -> None:
    prompt = prompt_of("llava", tiny_samples("llava", (1, 1)))
    unknown = Prompt(prompt.adapter, prompt.spans, {**prompt.inputs, "depth": torch.ones(2)}, print)
    with pytest.raises(UnsupportedError, match="which rows of the batch depth belong to"):
        select(unknown, [0])
    text = {k: v for k, v in prompt.inputs.items() if k != "pixel_values"}
    with pytest.raises(UnsupportedError, match="the pixels of this prompt were not seen"):
        select(Prompt(prompt.adapter, prompt.spans, text, print), [0])
