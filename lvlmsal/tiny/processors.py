"""Processors for the tiny models, made on the spot: a tokenizer of bytes and small images."""

from __future__ import annotations

from typing import Any, Final

from transformers import Idefics3Processor, LlavaProcessor, PreTrainedTokenizerFast

from lvlmsal.adapters.processors import (
    ImageOnlyInternVLProcessor,
    ImageOnlyQwen2VLProcessor,
    without_advice,
)
from lvlmsal.tiny.parts import PATCH, SIDE, SQUARE, byte_tokenizer, chat_template

_QWEN: Final = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")

MARKS: Final = {
    "llava": ("<image>", "<video>", "<img>", "</img>"),
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "internvl": ("<IMG_CONTEXT>", "<video>", "<img>", "</img>"),
    "idefics3": (
        "<image>",
        "<global-img>",
        "<fake_token_around_image>",
        "<end_of_utterance>",
    ),
}
"""Family -> what the ids from `lvlmsal.tiny.parts.WORDS` on stand for: the placeholders of an image
and of a video, then what begins and what ends an image. Idefics3 has no videos; one and the same
mark begins and ends its images, and a second one stands behind it where it begins one."""

QWEN_PATCH: Final = 4
"""Side of a patch of Qwen-VL in pixels."""

IDEFICS_SIDE: Final = 24
"""Side of an image of Idefics3, whose patches are those of Qwen-VL, merged 2 x 2."""

_QWEN_IMAGE: Final = "".join([_QWEN[2], _QWEN[0], _QWEN[3]])
_QWEN_VIDEO: Final = "".join([_QWEN[2], _QWEN[1], _QWEN[3]])

TEMPLATES: Final = {
    "llava": chat_template(
        "<image>\n", begin=True, system="", user="USER: ", end=" ", answer=" ASSISTANT:"
    ),
    "qwen2_vl": chat_template(_QWEN_IMAGE, video=_QWEN_VIDEO),
    "qwen2_5_vl": chat_template(_QWEN_IMAGE, video=_QWEN_VIDEO),
    "internvl": chat_template("<IMG_CONTEXT>\n", video="<video>\n"),
    "idefics3": chat_template(
        "<image>", begin=True, system="System: ", user="User:", answer="\nAssistant:"
    ),
}
"""Family -> chat template, worded as that of its real checkpoints in short."""


def tiny_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Build a tokenizer with one id for each byte, which encodes and decodes any text.

    Args:
        family: A key of :data:`MARKS`.

    Returns:
        The tokenizer; it pads at the left.
    """
    names = ("context_image_token", "video_token", "start_image_token", "end_image_token")
    named = dict(zip(names, MARKS[family], strict=True)) if family == "internvl" else {}
    return byte_tokenizer(*MARKS[family], **named)


def tiny_processor(family: str) -> Any:
    """Build a working processor for the tiny model of `family`.

    Args:
        family: A key of :data:`MARKS`.

    Returns:
        A processor for images and text; for videos it is not.
    """
    tokenizer, template = tiny_tokenizer(family), TEMPLATES[family]
    with without_advice():
        # The import itself is what transformers comments on.
        from transformers import (
            CLIPImageProcessor,
            GotOcr2ImageProcessor,
            Idefics3ImageProcessor,
            Qwen2VLImageProcessor,
        )

        if family == "llava":
            build: Any = LlavaProcessor  # without types, too
            return build(
                CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SQUARE),
                tokenizer,
                patch_size=PATCH,
                vision_feature_select_strategy="default",
                num_additional_image_tokens=1,
                chat_template=template,
            )
        if family == "internvl":
            tiles = GotOcr2ImageProcessor(size=SQUARE, min_patches=1, max_patches=4)
            length = (SIDE // PATCH // 2) ** 2
            return ImageOnlyInternVLProcessor(
                tiles, tokenizer, image_seq_length=length, chat_template=template
            )
        if family == "idefics3":
            side = {"longest_edge": IDEFICS_SIDE}
            build = Idefics3Processor
            return build(
                Idefics3ImageProcessor(size=side, max_image_size=side, do_image_splitting=False),
                tokenizer,
                image_seq_len=(IDEFICS_SIDE // QWEN_PATCH // 2) ** 2,
                chat_template=template,
            )
        pixels = Qwen2VLImageProcessor(
            patch_size=QWEN_PATCH,
            merge_size=2,
            temporal_patch_size=2,
            min_pixels=(2 * QWEN_PATCH) ** 2,
            max_pixels=12 * (2 * QWEN_PATCH) ** 2,
        )
        build = ImageOnlyQwen2VLProcessor
        return build(pixels, tokenizer, chat_template=template)
