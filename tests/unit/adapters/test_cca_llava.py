"""CCA-LLaVA against its rule written out: a Llama that is given positions and a mask by hand."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, LlamaModel

import lvlmsal
from lvlmsal.adapters import CcaLlavaAdapter, adapter_for
from lvlmsal.adapters.concentric import CcaLlavaForConditionalGeneration, rings
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.saliency.options import RowName
from lvlmsal.testing.pictures import QUESTIONS, random_images
from lvlmsal.testing.tiny import tiny_lvlm
from lvlmsal.tiny.parts import PATCH, WORDS, random_model
from lvlmsal.versions import CACHE

TOLERANCE = 2e-5
"""The norms of a Llama round to float32, whatever its weights are in."""


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_lvlm("cca_llava", dtype=torch.float64)[0]


def peeled(side: int) -> list[int]:
    """The ring of each patch: what is left of the square is peeled, time and again."""
    left = {(row, column) for row in range(side) for column in range(side)}
    found, ring = dict.fromkeys(left, -1), 0
    while left:
        edges = [{place[axis] for place in left} for axis in (0, 1)]
        peel = {
            place
            for place in left
            if any(place[axis] in (min(edges[axis]), max(edges[axis])) for axis in (0, 1))
        }
        found |= dict.fromkeys(peel, ring)
        left -= peel
        ring += 1
    return [found[row, column] for row in range(side) for column in range(side)]


def layout(ids: Sequence[int], side: int) -> tuple[list[int], Tensor]:
    """Position of each token of one sample, and who sees whom, token by token."""
    peels, patches = peeled(side), side * side
    positions: list[int] = []
    image: list[tuple[int, int] | None] = []  # number of the image, ring
    number = following = at = 0
    while at < len(ids):
        if list(ids[at : at + patches]) == [WORDS] * patches:
            positions += [following + ring for ring in peels]
            image += [(number, ring) for ring in peels]
            following += max(peels) + 1
            number += 1
            at += patches
        else:
            positions.append(following)
            image.append(None)
            following += 1
            at += 1
    seen = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    for row, mine in enumerate(image):
        for column, other in enumerate(image):
            if mine is not None and other is not None and mine[0] == other[0]:
                seen[row, column] = other[1] <= mine[1]
            else:
                seen[row, column] = column <= row
    return positions, seen


def side_of(model: Any) -> int:
    return int(model.config.vision_config.image_size // model.config.vision_config.patch_size)


def by_hand(
    model: Any,
    ids: Sequence[int],
    pixels: Tensor | None,
    rule: tuple[list[int], Tensor] | None = None,
) -> Tensor:
    """Logits (L, V) of one unpadded sample, of a Llama of transformers with the same weights."""
    config = copy.deepcopy(model.config.text_config)
    config._attn_implementation = "eager"
    language: Any = LlamaModel(config).double().eval()
    language.load_state_dict(model.model.language_model.state_dict())
    tokens = torch.tensor(ids)
    positions, seen = rule or layout(ids, side_of(model))
    with torch.no_grad():
        states = language.embed_tokens(tokens)
        if pixels is not None:
            features = model.get_image_features(pixel_values=pixels).pooler_output
            states[tokens == WORDS] = torch.cat(tuple(features))
        mask = torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, -1e300)
        hidden = language(
            inputs_embeds=states[None],
            attention_mask=mask[None, None],
            position_ids=torch.tensor(positions)[None],
        ).last_hidden_state[0]
        logits: Tensor = model.lm_head(hidden)
    return logits


def batch() -> tuple[dict[str, Tensor], list[tuple[list[int], Tensor | None]]]:
    """A padded batch of samples with one image or several or none, and each of them alone."""
    adapter = adapter_for(*tiny_lvlm("cca_llava"))
    images = [*random_images(), []]
    questions = [*QUESTIONS, "No image at all, and a long question?"]

    def encoded(which: Sequence[int]) -> dict[str, Tensor]:
        found = adapter.encode([images[i] for i in which], [questions[i] for i in which])
        return {k: v.double() if v.is_floating_point() else v for k, v in found.items()}

    alone = [encoded([row]) for row in range(len(images))]
    return encoded(range(len(images))), [
        (inputs["input_ids"][0].tolist(), inputs.get("pixel_values")) for inputs in alone
    ]


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 24])
def test_rings(side: int) -> None:
    assert rings(side).tolist() == peeled(side)
    assert int(rings(side).max()) + 1 == (side + 1) // 2


def test_a_square_of_four_by_hand() -> None:
    positions, seen = layout([7, 8, *[WORDS] * 16, 9], 4)
    assert positions == [0, 1, 2, 2, 2, 2, 2, 3, 3, 2, 2, 3, 3, 2, 2, 2, 2, 2, 4]
    assert seen[2, 17]  # the border sees all of itself
    assert not seen[2, 7]
    assert seen[7].tolist() == [True] * 18 + [False]  # the middle sees the whole image


def test_a_padded_batch_has_the_logits_of_the_rule(model: Any) -> None:
    inputs, samples = batch()
    assert {len(pixels) if pixels is not None else 0 for _, pixels in samples} >= {0, 1, 2}
    with torch.no_grad():
        logits = model(**inputs).logits
    for row, (ids, pixels) in enumerate(samples):
        wanted = by_hand(model, ids, pixels)
        assert float((logits[row, -len(ids) :] - wanted).abs().max()) < TOLERANCE, row


def test_generation_goes_by_the_rule_step_by_step(model: Any) -> None:
    inputs, samples = batch()
    out = model.generate(
        **inputs,
        max_new_tokens=5,
        min_new_tokens=5,
        do_sample=False,
        suppress_tokens=[WORDS],
        output_logits=True,
        return_dict_in_generate=True,
    )
    for row, (ids, pixels) in enumerate(samples):
        answer = out.sequences[row, -5:].tolist()
        wanted = by_hand(model, [*ids, *answer], pixels)[len(ids) - 1 : -1]
        made = torch.stack([step[row] for step in out.logits])
        assert float((made - wanted).abs().max()) < TOLERANCE, row


def test_an_odd_number_of_patches() -> None:
    config = copy.deepcopy(tiny_lvlm("cca_llava")[0].config)
    config.vision_config.image_size = 5 * PATCH
    odd: Any = random_model(lambda: CcaLlavaForConditionalGeneration(config), dtype=torch.float64)
    ids = [1, 40, *[WORDS] * 25, 50, 51]
    pixels = torch.randn(1, 3, 5 * PATCH, 5 * PATCH, dtype=torch.float64)
    with torch.no_grad():
        logits = odd(input_ids=torch.tensor([ids]), pixel_values=pixels).logits[0]
    assert float((logits - by_hand(odd, ids, pixels)).abs().max()) < TOLERANCE


def test_positions_and_mask_each_make_a_difference(model: Any) -> None:
    _, samples = batch()
    ids, pixels = samples[0]
    positions, seen = layout(ids, side_of(model))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), pixel_values=pixels).logits[0]
    others = {
        "positions": (list(range(len(ids))), seen),
        "mask": (positions, torch.ones_like(seen).tril()),
    }
    for name, rule in others.items():
        assert float((logits - by_hand(model, ids, pixels, rule)).abs().max()) > 1e-3, name


class Elsewhere(torch.nn.Module):
    """A head whose weight is read when it runs, as under offloading."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(1, 1, device="meta"))
        self.run = head.forward

    def forward(self, states: Tensor) -> Any:
        return self.run(states)


def test_a_head_on_another_device_says_nothing_of_the_mask(model: Any) -> None:
    moved = copy.deepcopy(model)
    moved.lm_head = Elsewhere(moved.lm_head)
    inputs, _ = batch()
    with torch.no_grad():
        assert torch.equal(moved(**inputs).logits, model(**inputs).logits)


def test_placeholders_that_are_no_image_are_text(model: Any) -> None:
    ids = [1, 40, WORDS, 41, WORDS, WORDS, 42]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    assert float((logits - by_hand(model, ids, None)).abs().max()) < TOLERANCE


def test_both_attentions_take_the_mask() -> None:
    inputs, _ = batch()
    fast: Any = tiny_lvlm("cca_llava")[0]  # in float32, as that is what eager attention rounds to
    slow = copy.deepcopy(fast)
    slow.set_attn_implementation({"text_config": "eager"})
    inputs["pixel_values"] = inputs["pixel_values"].float()
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        gap = fast(**inputs).logits - slow(**inputs).logits
    assert float(gap[real].abs().max()) < 1e-4


def test_a_turn_with_another_image_goes_on_from_a_cache(model: Any) -> None:
    _, samples = batch()
    first, before = samples[0]
    assert before is not None
    cache = DynamicCache()
    with torch.no_grad():
        model(input_ids=torch.tensor([first]), pixel_values=before, **{CACHE: cache})
    ids = [*first, 60, 61, *[WORDS] * 16, 62]
    out = model.generate(
        input_ids=torch.tensor([ids]),
        pixel_values=-before,
        max_new_tokens=1,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        **{CACHE: cache},
    )
    wanted = by_hand(model, ids, torch.cat([before, -before]))[-1]
    assert float((out.logits[0][0] - wanted).abs().max()) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("row", ["predicting", "candidate"])
def test_sgrs_takes_steps_back_to_the_right_positions(row: RowName, model: Any) -> None:
    """Its trees and blocks run tokens and drop them: what is said then follows from the rule."""
    _, samples = batch()
    alone = {
        "input_ids": torch.tensor([samples[0][0]]),
        "pixel_values": samples[0][1],
    }
    decoder = SGRS(alpha=1.2, temperature=0.0001, row=row)
    out = model.generate(
        **alone,
        max_new_tokens=5,
        suppress_tokens=[2, WORDS],
        return_dict_in_generate=True,
        **decoder.generate_kwargs(),
    )
    ids = samples[0][0]
    answer = out.sequences[0, len(ids) :].tolist()
    logits = by_hand(model, [*ids, *answer], samples[0][1])[len(ids) - 1 : -1]
    logits[:, [2, WORDS]] = -torch.inf
    chances = torch.softmax(logits / 0.0001, dim=-1)
    for step, record in enumerate(out.records[0]):
        assert record.probability == pytest.approx(float(chances[step, answer[step]]), abs=1e-6)


def test_what_cannot_be_told_is_refused(model: Any) -> None:
    _, samples = batch()
    ids, pixels = torch.tensor([samples[0][0]]), samples[0][1]
    cache = DynamicCache()
    with torch.no_grad():
        model(input_ids=ids, pixel_values=pixels, **{CACHE: cache})
    with pytest.raises(UnsupportedError, match="need position_ids"):
        model(input_ids=torch.tensor([[40]]), **{CACHE: cache})
    states = model.get_input_embeddings()(ids)
    with pytest.raises(UnsupportedError, match="input_ids"):
        model(inputs_embeds=states)
    with pytest.raises(UnsupportedError, match="without inputs_embeds"):
        model.generate(inputs_embeds=states, max_new_tokens=1)
    config = copy.deepcopy(model.config)
    config.vision_feature_select_strategy = "full"
    with pytest.raises(UnsupportedError, match="the class token has none"):
        CcaLlavaForConditionalGeneration(config)
    config = copy.deepcopy(tiny_lvlm("qwen2_vl")[0].config.text_config)
    other = copy.deepcopy(model.config)
    other.text_config = config
    with pytest.raises(UnsupportedError, match="is a Llama"):
        CcaLlavaForConditionalGeneration(other)


@pytest.mark.slow
def test_a_folder_is_read_as_what_it_is(tmp_path: Path) -> None:
    written, processor = tiny_lvlm("cca_llava")
    folder = tmp_path / "cca-llava-mine"
    written.save_pretrained(folder)
    processor.save_pretrained(folder)
    lvlm = lvlmsal.load(folder)
    assert type(lvlm.adapter) is CcaLlavaAdapter
    inputs = lvlm.adapter.encode(random_images(), QUESTIONS)
    with torch.no_grad():
        assert torch.equal(lvlm.model(**inputs).logits, written(**inputs).logits)
