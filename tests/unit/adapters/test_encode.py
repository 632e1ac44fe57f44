"""From questions and images to inputs: wording, placeholders, padding, and what is refused."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.adapters.prompts import token_texts
from lvlmsal.errors import LvlmsalError, UnsupportedError
from lvlmsal.testing.tiny import IMAGE, IMAGE_END, IMAGE_START, TINY, tiny_lvlm, tiny_model
from lvlmsal.tiny.processors import tiny_tokenizer


@functools.cache
def tiny_adapter(family: str) -> ModelAdapter:
    return adapter_for(*tiny_lvlm(family))


def picture(width: int = 40, height: int = 40) -> Image.Image:
    return Image.effect_noise((width, height), 90)


def text_of(ids: torch.Tensor) -> str:
    """Decode the bytes of the tiny vocabulary by hand, each mark as one letter."""
    alphabet = {id_: token for token, id_ in tiny_tokenizer("llava").get_vocab().items()}
    return "".join("#" if i == IMAGE else alphabet[i] for i in ids.tolist())


def test_llava_is_worded_as_its_checkpoints_are() -> None:
    inputs = tiny_adapter("llava").encode([[picture()]], ["Is there a dog?"])
    space, line = "\u0120", "\u010a"  # how a byte-level vocabulary writes a blank and a line break
    expected = f"<s>USER: {'#' * 16}\nIs there a dog? ASSISTANT:"
    expected = expected.replace(" ", space).replace("\n", line)
    assert text_of(inputs["input_ids"][0]) == expected


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "internvl"])
def test_images_stand_between_their_marks(family: str) -> None:
    ids = tiny_adapter(family).encode([[picture(), picture(80, 30)]], ["q"])["input_ids"][0]
    (starts,) = (ids == IMAGE_START).nonzero(as_tuple=True)
    (ends,) = (ids == IMAGE_END).nonzero(as_tuple=True)
    assert len(starts) == len(ends) == 2
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        assert (ids[start + 1 : end] == IMAGE).all()


@pytest.mark.parametrize("family", TINY)
def test_placeholder_in_the_question_stays_where_it_is(family: str) -> None:
    adapter = tiny_adapter(family)
    mark = adapter.require_processor().image_token
    inputs = adapter.encode([[picture()]], [f"before {mark} after"])
    span = adapter.spans(inputs["input_ids"])[0]
    ids = inputs["input_ids"][0]
    assert len(span.images) == 1
    assert adapter.decode(ids[: span.images[0][0]]).endswith("before ")
    assert adapter.decode(ids[span.images[0][1] :]).startswith(" after")


@pytest.mark.parametrize("family", TINY)
def test_begin_token_is_written_once(family: str) -> None:
    model, processor = tiny_lvlm(family)
    processor.tokenizer.add_bos_token = True
    ids = adapter_for(model, processor).encode([[picture()]], ["q"])["input_ids"][0]
    assert int((ids == processor.tokenizer.bos_token_id).sum()) <= 1


@pytest.mark.parametrize("family", TINY)
def test_prompt_without_template_is_taken_as_it_is(family: str) -> None:
    adapter = tiny_adapter(family)
    mark = adapter.require_processor().image_token
    inputs = adapter.encode([[picture()]], [f"Look: {mark} Well?"], template=False)
    assert adapter.decode(inputs["input_ids"][0]) == "Look:  Well?"


@pytest.mark.parametrize(
    ("images", "prompt", "template", "message"),
    [
        (2, "{mark} one", True, "2 images but 1 placeholder '{mark}'.*give 1 of the images"),
        (1, "{mark}{mark}", True, "1 image but 2 placeholders '{mark}'.*give 2 images"),
        (0, "{mark} none", True, "0 images but 1 placeholder '{mark}'"),
        (1, "nothing", False, "1 image but 0 placeholders '{mark}'.*must hold one"),
    ],
)
@pytest.mark.parametrize("family", TINY)
def test_numbers_that_differ_are_named(
    family: str, images: int, prompt: str, template: bool, message: str
) -> None:
    adapter = tiny_adapter(family)
    mark = adapter.require_processor().image_token
    expected = "sample 1 has " + message.replace("{mark}", mark.replace("|", r"\|"))
    with pytest.raises(LvlmsalError, match=expected):
        adapter.encode(
            [[], [picture()] * images], ["fine", prompt.format(mark=mark)], template=template
        )


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(LvlmsalError, match="2 prompts and 1 lists of images"):
        tiny_adapter("llava").encode([[picture()]], ["a", "b"])
    with pytest.raises(LvlmsalError, match="at least one prompt"):
        tiny_adapter("llava").encode([], [])


def test_processor_without_template() -> None:
    model, processor = tiny_lvlm("llava")
    processor.chat_template = None
    adapter = adapter_for(model, processor)
    with pytest.raises(UnsupportedError, match=r"no chat template.*'<image>'.*template=False"):
        adapter.encode([[picture()]], ["q"])
    ids = adapter.encode([[picture()]], ["<image> q"], template=False)["input_ids"]
    assert ids.shape == (1, 18)


def test_tokenizer_that_cannot_pad() -> None:
    model, processor = tiny_lvlm("qwen2_vl")
    processor.tokenizer.pad_token = None
    adapter = adapter_for(model, processor)
    assert adapter.encode([[]], ["one at a time"])["input_ids"].shape[0] == 1
    with pytest.raises(UnsupportedError, match=r"no padding token.*eos_token"):
        adapter.encode([[], []], ["a", "bc"])


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("num_additional_image_tokens", 0), ("vision_feature_select_strategy", "full")],
)
def test_llava_processor_with_settings_of_another_model(attribute: str, value: Any) -> None:
    model, processor = tiny_lvlm("llava")
    setattr(processor, attribute, value)
    with pytest.raises(UnsupportedError, match=r"1[57] placeholders for 1 .* 16 .*patch_size=7"):
        adapter_for(model, processor).encode([[picture()]], ["q"])


@pytest.mark.parametrize("family", TINY)
def test_pixels_come_in_the_dtype_of_the_model(family: str) -> None:
    model, processor = tiny_lvlm(family, dtype=torch.float64)
    inputs = adapter_for(model, processor).encode([[picture()]], ["q"])
    assert inputs["pixel_values"].dtype == torch.float64
    assert inputs["input_ids"].dtype == torch.int64


@pytest.mark.parametrize("family", TINY)
def test_images_of_other_modes_are_taken(family: str) -> None:
    adapter = tiny_adapter(family)
    gray = picture()
    inputs = [adapter.encode([[image]], ["q"]) for image in (gray, gray.convert("RGB"))]
    assert torch.equal(inputs[0]["pixel_values"], inputs[1]["pixel_values"])


@pytest.mark.parametrize("family", TINY)
def test_generates_from_what_was_encoded(family: str) -> None:
    adapter = tiny_adapter(family)
    inputs = adapter.encode([[picture()], []], ["What?", "And without a picture?"])
    model: Any = adapter.model
    ids = model.generate(**inputs, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    assert ids.shape == (2, inputs["input_ids"].shape[1] + 3)
    found = adapter.spans(ids, inputs["attention_mask"], output_start=inputs["input_ids"].shape[1])
    assert [span.length - span.output_start for span in found] == [3, 3]


def test_qwen_marks_are_added_where_the_processor_leaves_them_out() -> None:
    adapter = tiny_adapter("qwen2_5_vl")
    full = adapter.encode([[picture()]], ["q"])
    bare = {name: value for name, value in full.items() if name != "mm_token_type_ids"}
    placed = adapter.place(bare)
    assert torch.equal(placed["mm_token_type_ids"], full["mm_token_type_ids"])
    assert full["mm_token_type_ids"].sum() == (full["input_ids"] == IMAGE).sum()


def test_qwen_video_is_an_image_of_stacked_frames() -> None:
    adapter = tiny_adapter("qwen2_vl")
    image, video = adapter.image_token_ids
    ids = torch.tensor([[0, 1, *[video] * 8, 5, *[image] * 6, 7], [1, *[image] * 4, *[4] * 13]])
    inputs = {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "video_grid_thw": torch.tensor([[2, 4, 4]]),
        "image_grid_thw": torch.tensor([[1, 4, 6], [1, 4, 4]]),
    }
    assert adapter.patch_grids(inputs, 0) == [(4, 2), (2, 3)]
    assert adapter.patch_grids(inputs, 1) == [(2, 2)]
    spans = adapter.spans(ids, inputs["attention_mask"])
    assert adapter.panels(inputs, spans) == [2, 1, 1]
    with pytest.raises(UnsupportedError, match="more images or videos than there are sizes"):
        adapter.panels({**inputs, "image_grid_thw": inputs["image_grid_thw"][:1]}, spans)
    marks = adapter.complete(inputs)["mm_token_type_ids"]
    assert marks.tolist()[0] == [0, 0, *[2] * 8, 0, *[1] * 6, 0]


def test_grid_that_does_not_fit_is_refused() -> None:
    adapter = tiny_adapter("qwen2_vl")
    inputs = adapter.encode([[picture()]], ["q"])
    inputs["image_grid_thw"] = inputs["image_grid_thw"] * 2
    with pytest.raises(UnsupportedError, match="are not grids"):
        adapter.patch_grids(inputs, 0)


def test_internvl_counts_tiles() -> None:
    adapter = tiny_adapter("internvl")
    inputs = adapter.encode([[picture(28, 28), picture(80, 40)]], ["q"])
    assert adapter.patch_grids(inputs, 0) == [(2, 2), (6, 2)]
    inputs["pixel_values"] = inputs["pixel_values"][:-1]
    with pytest.raises(UnsupportedError, match="4 for a tile, but pixels of 3 tiles were given"):
        adapter.patch_grids(inputs, 0)


def test_without_a_processor_only_text_is_missing() -> None:
    adapter = adapter_for(tiny_model("llava"))
    assert adapter.num_layers == 2
    for use in (
        lambda: adapter.encode([[]], ["q"]),
        lambda: adapter.decode([1]),
        lambda: adapter.token_texts([1]),
    ):
        with pytest.raises(UnsupportedError, match=r"processor.*lvlmsal\.load"):
            use()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_token_texts_join_to_the_text(text: str) -> None:
    adapter = tiny_adapter("llava")
    ids = tiny_tokenizer("llava")(text, add_special_tokens=False)["input_ids"]
    pieces = adapter.token_texts(ids)
    assert "".join(pieces) == text == adapter.decode(ids)
    assert len(pieces) == len(ids)


def test_character_of_several_tokens_stands_with_the_last() -> None:
    ids = tiny_tokenizer("llava")("a\u20acb", add_special_tokens=False)["input_ids"]
    assert tiny_adapter("llava").token_texts(ids) == ["a", "", "", "\u20ac", "b"]


def test_incomplete_character_is_not_lost() -> None:
    ids = tiny_tokenizer("llava")("a\u20ac", add_special_tokens=False)["input_ids"]
    assert tiny_adapter("llava").token_texts(ids[:-1]) == ["a", "", "\N{REPLACEMENT CHARACTER}"]


@pytest.mark.parametrize(
    ("tokens", "pieces"),
    [
        (["\u2581Hello", "\u2581world", "!"], ["Hello", " world", "!"]),
        (["\u2581", "\u2581world", "\u2581", "!"], ["", " world", " ", "!"]),
        (["\u2581a", "<0xE2>", "<0x82>", "<0xAC>", "\u2581a"], ["a", "", "", "\u20ac", " a"]),
    ],
)
def test_token_texts_of_a_tokenizer_that_swallows_the_first_blank(
    tokens: list[str], pieces: list[str]
) -> None:
    """The tokenizer of LLaVA-1.5 writes blanks into tokens and drops the first of a text."""
    vocabulary = {token: number for number, token in enumerate(["<unk>", *dict.fromkeys(tokens)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    ids = [vocabulary[token] for token in tokens]
    assert token_texts(fast, ids) == pieces
    assert "".join(pieces) == fast.decode(ids)
