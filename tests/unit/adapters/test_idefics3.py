"""Idefics3 and SmolVLM: rows of images, marks of any length, and what is refused of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedModel,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
)

import lvlmsal
from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.idefics3 import Idefics3Adapter, SmolVLMAdapter
from lvlmsal.attention import intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.interventions.contrast import without_images
from lvlmsal.interventions.icd import ICD
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vcd import VCD
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.testing.adapter import check_adapter
from lvlmsal.testing.tiny import IMAGE, tiny_inputs, tiny_lvlm, tiny_model
from tests.second_streams import prompt_of

FAKE, GLOBAL = "<fake_token_around_image>", "<global-img>"


def picture(level: int = 90) -> Image.Image:
    return Image.linear_gradient("L").rotate(level).resize((50, 30)).convert("RGB")


def loaded(**image_processor: Any) -> Lvlm:
    """The tiny model, with settings of its image processor."""
    model, processor = tiny_lvlm("idefics3")
    for name, value in image_processor.items():
        setattr(processor.image_processor, name, value)
    return lvlmsal.load((model, processor))


def smol() -> PreTrainedModel:
    """A SmolVLM with the weights of the tiny Idefics3."""
    model = tiny_model("idefics3")
    config = model.config
    smaller = SmolVLMConfig(
        vision_config={**config.vision_config.to_dict(), "model_type": "smolvlm_vision"},
        text_config=config.text_config.to_dict(),
        image_token_id=config.image_token_id,
        scale_factor=config.scale_factor,
        tie_word_embeddings=False,
    )
    other = SmolVLMForConditionalGeneration(smaller)
    other.load_state_dict(model.state_dict())
    other.generation_config.pad_token_id = 0
    return other.train(False)


def logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(**inputs).logits
    return found


def test_it_is_worded_as_its_checkpoints_are() -> None:
    adapter = loaded().adapter
    ids = adapter.encode([[picture()]], ["What?"])["input_ids"][0]
    text = adapter.tokenizer.decode(ids).replace("<image>" * 9, "#")
    assert text == f"<s>User:{FAKE}{GLOBAL}#{FAKE}What?\nAssistant:"


def test_visual_tokens_are_blocks_of_patches_row_by_row() -> None:
    """The connector has no bias, so that a lone patch shows in its own block only."""
    model: Any = tiny_model("idefics3")
    ((rows, columns),) = adapter_for(model).patch_grids(tiny_inputs("idefics3"), 0)
    assert (rows, columns) == (3, 3)
    for patch in range(36):
        lone = torch.zeros(1, 36, 32)
        lone[0, patch] = 1
        with torch.no_grad():
            (lit,) = model.model.connector(lone)[0].any(-1).nonzero().flatten().tolist()
        assert divmod(lit, columns) == (patch // 6 // 2, patch % 6 // 2)


def test_images_are_told_apart_where_nothing_stands_between_them() -> None:
    adapter = loaded().adapter
    inputs = adapter.encode([[picture(), picture(10)], [picture()]], ["q", "And a longer one?"])
    spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    assert [len(row.images) for row in spans] == [2, 1]
    assert inputs["pixel_values"].shape == (2, 2, 3, 24, 24)
    assert not inputs["pixel_values"][1, 1].any()
    ids = inputs["input_ids"][0, spans[0].pad :].tolist()
    texts = [
        adapter.tokenizer.decode(ids[start:end]).replace("<image>", "")
        for start, end in (adapter.marked(ids, image) for image in spans[0].images)
    ]
    assert texts == [f"{FAKE}{GLOBAL}{FAKE}"] * 2


@pytest.mark.parametrize("letters", [1, 4])
def test_the_mark_of_an_image_may_be_several_tokens(letters: int) -> None:
    """Vocabularies without `<global-img>` spell it out, of which nothing may be left over."""
    model, fake, seen = tiny_model("idefics3"), IMAGE + 2, [IMAGE] * 9
    image = [fake, *range(100, 100 + letters), *seen, fake]
    ids = torch.tensor([[1, 20, *image, *image, 21, *image, 22, 23]])
    prompt = prompt_of(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert len(prompt.spans[0].images) == 3
    assert without_images(prompt)["input_ids"].tolist() == [[1, 20, 21, 22, 23]]


def test_images_without_marks_take_no_text_along() -> None:
    ids = torch.tensor([[1, 20, *[IMAGE] * 18, 20, 22]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    prompt = prompt_of(tiny_model("idefics3"), inputs)
    assert prompt.spans[0].images == ((2, 11), (11, 20))
    assert without_images(prompt)["input_ids"].tolist() == [[1, 20, 20, 22]]


def test_words_stand_behind_the_mark_that_closes_the_image() -> None:
    lvlm = loaded()
    icd = ICD(disturbance="Now:", placement="user")
    second = icd.second_inputs(
        prompt_of(lvlm.adapter, lvlm.adapter.encode([[picture()]], ["Is it?"]))
    )
    assert second is not None
    assert f"{FAKE}Now:\nIs it?" in lvlm.adapter.tokenizer.decode(second["input_ids"][0])


# Pixels.


def test_what_the_processor_makes_needs_no_mask() -> None:
    lvlm = loaded()
    text = f"<s>User:{'<image>' * 2}What?"
    raw = dict(
        lvlm.processor(
            text=[text],
            images=[picture(), picture(10)],
            return_tensors="pt",
            add_special_tokens=False,
        )
    )
    assert "pixel_attention_mask" in raw
    placed = lvlm.adapter.place(raw)
    assert set(placed) == {"input_ids", "attention_mask", "pixel_values"}
    assert torch.equal(logits(lvlm.model, raw), logits(lvlm.model, placed))


def test_a_black_image_is_no_padding() -> None:
    """Where the processor takes no mean off, its pixels are zeros, as those of padding are."""
    black = Image.new("RGB", (24, 24))
    lvlm = loaded(image_mean=[0.0] * 3, image_std=[1.0] * 3)
    inputs = lvlm.adapter.encode([[black, picture()], [black]], ["q", "and?"])
    assert inputs["pixel_values"][0, 0].count_nonzero() == 1
    assert float(inputs["pixel_values"][0, 0].max()) < 1e-30
    seen = inputs["pixel_values"].clone()
    seen[0, 0], seen[1, 0] = 1e-30, -1e-30
    found = logits(lvlm.model, inputs)
    assert torch.allclose(found, logits(lvlm.model, {**inputs, "pixel_values": seen}), atol=1e-5)
    with torch.no_grad(), pytest.raises(ValueError, match="do not match"):
        lvlm.model(**{**inputs, "pixel_values": seen.where(seen.abs() > 1e-20, 0)})


class Blank(LogitsIntervention):
    """Answers as if all images were blank, and keeps what it was shown."""

    has_second_stream = True

    def __init__(self, level: float) -> None:
        self.level, self.seen = level, list[Tensor]()

    def second_inputs(self, prompt: Prompt) -> Any:
        return prompt.with_pixels(self._blank)

    def _blank(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return torch.full_like(image, self.level)

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        assert context.second is not None
        return context.second


@pytest.mark.parametrize("level", [0.0, 0.5])
@pytest.mark.parametrize("beams", [1, 3])
def test_images_are_changed_and_padding_is_not(level: float, beams: int) -> None:
    model: Any = tiny_model("idefics3", dtype=torch.float64)
    inputs = tiny_inputs("idefics3", (2, 0, 1), dtype=torch.float64)
    options = {"max_new_tokens": 4, "num_beams": beams, "do_sample": False}
    options |= {"suppress_tokens": [2, IMAGE]}
    blank = Blank(level)
    with intervene(model, blank):
        found = model.generate(**inputs, **options)
    pixels = inputs["pixel_values"]
    images = [pixels[0, 0], pixels[0, 1]] * beams + [pixels[2, 0]] * beams
    assert len(blank.seen) == len(images)
    assert all(torch.equal(a, b) for a, b in zip(blank.seen, images, strict=True))
    changed = torch.zeros_like(pixels)
    changed[0, :], changed[2, 0] = level or 1e-300, level or 1e-300
    assert torch.equal(found, model.generate(**{**inputs, "pixel_values": changed}, **options))


def test_a_contrast_follows_a_batch_of_unequal_numbers_of_images() -> None:
    lvlm, questions = loaded(), ["Is there a cat?", "No image", "And two?"]
    images = [[picture()], [], [picture(40), picture(70)]]
    for edit in (VCD(), ICD(), LocoRE(beta=0.5)):
        options: dict[str, Any] = {"interventions": edit, "max_new_tokens": 5}
        together = lvlm.generate(images, questions, **options)
        for answer, pictures, question in zip(together, images, questions, strict=True):
            alone = lvlm.generate(pictures, question, **options)
            assert answer.token_ids == alone.token_ids


# Images that are split into tiles.


def split() -> Lvlm:
    return loaded(do_image_splitting=True, size={"longest_edge": 72})


def test_an_image_is_its_tiles_and_itself() -> None:
    adapter = split().adapter
    inputs = adapter.encode([[picture(), picture()], [picture(0).crop((0, 0, 20, 20))]], ["q", "p"])
    spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    # 50 x 30 pixels scaled to 72 x 43 are 3 x 2 tiles of 24 pixels, and the image as a whole
    assert [len(row.images) for row in spans] == [2, 1]
    assert [[run.owner for run in row.runs].count(0) for row in spans] == [7, 10]
    assert {run.end - run.start for row in spans for run in row.runs} == {9}
    assert adapter.panels(inputs, spans) == [7, 7, 10]
    assert adapter.patch_grids(inputs, 0) == [(21, 3), (21, 3)]
    ids = inputs["input_ids"][0, spans[0].pad :].tolist()
    start, end = adapter.marked(ids, spans[0].images[0])
    text = adapter.tokenizer.decode(ids[start:end]).replace("<image>", "")
    assert text.startswith(f"{FAKE}<row_1_col_1>{FAKE}<row_1_col_2>")
    assert text.endswith(f"{GLOBAL}{FAKE}")
    for boxes in adapter.patch_boxes(inputs, 0, [(50, 30)] * 2):
        assert boxes is not None
        corners = boxes.reshape(7, 9, 4)[:, [0, 8]].flatten(1)[:, [0, 1, 6, 7]]
        thirds = [[x / 3, y / 2, (x + 1) / 3, (y + 1) / 2] for y in range(2) for x in range(3)]
        assert torch.allclose(corners, torch.tensor([*thirds, [0, 0, 1, 1.0]]))


@pytest.mark.slow
def test_split_images_keep_the_promises_of_an_adapter() -> None:
    lvlm = split()
    check_adapter(Idefics3Adapter, lvlm.model, lvlm.processor)


# What is refused.


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_seq_len": 4}, r"\[4\] placeholders for \[1\] image.*image_seq_len=9"),
        ({"image_seq_len": 18}, r"\[18\] placeholders for \[1\] image.*image_seq_len=9"),
        ({"side": 16}, r"\[9\].*of 16 x 16 pixels.*24 x 24 pixels.*max_image_size"),
    ],
)
def test_a_processor_with_settings_of_another_model(change: dict[str, int], told: str) -> None:
    lvlm = loaded()
    if "side" in change:
        lvlm.processor.image_processor.max_image_size = {"longest_edge": change["side"]}
    else:
        lvlm.processor.image_seq_len = change["image_seq_len"]
    with pytest.raises(UnsupportedError, match=told):
        lvlm.adapter.encode([[picture()]], ["q"])


def test_images_that_are_not_seen_in_full_are_refused() -> None:
    adapter = loaded().adapter
    inputs = tiny_inputs("idefics3")
    mask = torch.ones(1, 1, 24, 24)
    assert "pixel_attention_mask" not in adapter.place({**inputs, "pixel_attention_mask": mask})
    mask[..., 20:] = 0
    with pytest.raises(UnsupportedError, match="max_image_size="):
        adapter.place({**inputs, "pixel_attention_mask": mask})


# Checkpoints.


def test_it_loads_without_this_library(tmp_path: Path) -> None:
    model, processor = tiny_lvlm("idefics3")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    auto: Any = AutoProcessor
    found, plain = auto.from_pretrained(tmp_path), AutoModelForImageTextToText
    again = plain.from_pretrained(tmp_path)
    inputs = Idefics3Adapter(again, found).encode([[picture()]], ["q"])
    assert torch.equal(logits(again, inputs), logits(model, inputs))
    assert type(found).__name__ == "Idefics3Processor"


def hub_folder(folder: Path, **image_processor: Any) -> Path:
    """SmolVLM in the files that its checkpoints on the hub have."""
    _, processor = tiny_lvlm("idefics3")
    smol().save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    whole = "SmolVLMProcessor"
    side = {"longest_edge": 24}
    images: Any = SmolVLMImageProcessor
    images(size=side, max_image_size=side, **image_processor).save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    settings = {**json.loads(path.read_text()), "processor_class": whole}
    path.write_text(json.dumps({**settings, "image_processor_type": "SmolVLMImageProcessor"}))
    (folder / "processor_config.json").write_text(
        json.dumps({"image_seq_len": 9, "processor_class": whole})
    )
    template = json.dumps({"chat_template": processor.chat_template})
    (folder / "chat_template.json").write_text(template)
    return folder


def test_smolvlm_as_on_the_hub(tmp_path: Path) -> None:
    lvlm = lvlmsal.load(hub_folder(tmp_path, do_image_splitting=False))
    assert type(lvlm.adapter) is SmolVLMAdapter
    inputs = lvlm.adapter.encode([[picture()], []], ["What is it?", "No."])
    first = loaded()
    wanted = first.adapter.encode([[picture()], []], ["What is it?", "No."])
    assert torch.equal(inputs["pixel_values"], wanted["pixel_values"])
    assert torch.equal(inputs["input_ids"], wanted["input_ids"])
    assert torch.allclose(logits(lvlm.model, inputs), logits(first.model, wanted), atol=1e-5)


@pytest.mark.full
def test_smolvlm_keeps_the_promises_of_an_adapter() -> None:
    check_adapter(SmolVLMAdapter, smol(), tiny_lvlm("idefics3")[1])
