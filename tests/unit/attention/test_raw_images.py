"""Raw images of a prompt: handed over by `Lvlm`, and processed as if they had been given so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

import lvlmsal
from lvlmsal.adapters.videos import Clip
from lvlmsal.attention import intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.prompt import Prompt, changed
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.model.loading import load
from lvlmsal.testing.tiny import collate, tiny_lvlm, tiny_model, tiny_samples
from tests.tiers import FAMILIES, FURTHER
from tests.unit.model.test_lvlm import picture

QUESTIONS = ["Is there a cat?", "Is there a dog in it?", "Why is that so?"]


class Inverts(LogitsIntervention):
    """Takes the logits of the photographic negative, and keeps its prompts."""

    has_second_stream = True

    def __init__(self) -> None:
        self.made: list[Mapping[str, Any] | None] = []
        self.widths: list[int] = []

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        self.widths.append(len(prompt.spans))
        self.made.append(prompt.with_images(ImageOps.invert))
        return self.made[-1]

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        return logits if context.second is None else context.second


class Shrinks(Inverts):
    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        return prompt.with_images(lambda image: image.resize((8, 8)))


def pictures() -> list[list[Image.Image]]:
    return [[picture(60, 40, 1), picture(36, 52, 2)], [], [picture(48, 48, 3)]]


def inverted() -> list[list[Image.Image]]:
    return [[ImageOps.invert(image) for image in own] for own in pictures()]


def same(found: Mapping[str, Any] | None, wanted: Mapping[str, Tensor]) -> bool:
    return (
        found is not None
        and set(found) == set(wanted)
        and all(torch.equal(found[name], value) for name, value in wanted.items())
    )


def check_family(family: str) -> None:
    """Answers of a batch, one without images, are those to the negatives."""
    lvlm = load(tiny_lvlm(family, dtype=torch.float64))
    edit = Inverts()
    found = lvlm.generate(pictures(), QUESTIONS, interventions=[edit], max_new_tokens=4)
    assert same(edit.made[0], lvlm.adapter.encode(inverted(), QUESTIONS))
    wanted = lvlm.generate(inverted(), QUESTIONS, max_new_tokens=4)
    assert [answer.token_ids for answer in found] == [answer.token_ids for answer in wanted]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_is_that_of_the_changed_images(family: str) -> None:
    check_family(family)


@pytest.mark.full
@pytest.mark.parametrize("family", FURTHER)
def test_further_families(family: str) -> None:
    check_family(family)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_beams_of_a_sample_share_its_images(family: str) -> None:
    lvlm = load(tiny_lvlm(family, dtype=torch.float64))
    edit = Inverts()
    entries = [pictures()[2], pictures()[0][:1]]
    options: dict[str, Any] = {"decoder": {"name": "beam", "num_beams": 2}, "max_new_tokens": 3}
    found = lvlm.generate(entries, QUESTIONS[:2], interventions=[edit], **options)
    assert edit.widths == [4]
    negatives = [[ImageOps.invert(image) for image in own] for own in entries]
    wanted = lvlm.generate(negatives, QUESTIONS[:2], **options)
    assert [answer.token_ids for answer in found] == [answer.token_ids for answer in wanted]


def test_frames_of_a_video_change_one_by_one() -> None:
    clip = lvlmsal.Video([picture(20, 12, seed) for seed in (1, 2)], fps=2).read()
    found = changed(clip, ImageOps.invert)
    assert isinstance(found, Clip)
    assert found.frames == [ImageOps.invert(frame) for frame in clip.frames]
    assert (found.positions, found.total, found.fps) == (clip.positions, clip.total, clip.fps)


@pytest.mark.slow
def test_images_within_messages() -> None:
    lvlm, image, edit = load(tiny_lvlm("qwen2_vl", dtype=torch.float64)), picture(), Inverts()
    parts = [{"type": "image", "image": image}, {"type": "text", "text": "Why?"}]
    messages = [{"role": "user", "content": parts}]
    lvlm.generate(None, messages, interventions=[edit], max_new_tokens=1)
    assert same(edit.made[0], lvlm.adapter.encode([[ImageOps.invert(image)]], ["Why?"]))


@pytest.mark.slow
def test_what_is_refused_and_what_has_nothing_to_change() -> None:
    model: Any = tiny_model("llava")
    inputs = collate(tiny_samples("llava", (1, 0)))
    with (
        pytest.raises(
            UnsupportedError,
            match=r"Inverts needs images.*lvlmsal\.load\(\.\.\.\)\.generate\(image",
        ),
        intervene(model, Inverts()),
    ):
        model.generate(**inputs, max_new_tokens=1)
    edit = Inverts()
    with intervene(model, edit):
        model.generate(**tiny_samples("llava", (0,))[0].inputs, max_new_tokens=1)
    assert edit.made == [None]
    lvlm = load(tiny_lvlm("llava"))
    with pytest.raises(UnsupportedError, match=r"\(48, 48\).*\(8, 8\).*resize them"):
        lvlm.generate(picture(48, 48, 3), QUESTIONS[0], interventions=[Shrinks()], max_new_tokens=1)
