"""A tiny Molmo2, whose images are two grids of pooled patches each."""

from __future__ import annotations

from typing import Any, Final

import transformers

from lvlmsal.tiny.parts import (
    PATCH,
    SCALE,
    SIDE,
    SQUARE,
    WIDTH,
    WORDS,
    TinyFamily,
    byte_tokenizer,
    chat_template,
    check_torchvision,
    text_config,
)

_hf: Any = transformers  # whose types lack the aliases of options

_MARKS: Final = (
    *("<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<frame_start>"),
    *("<im_end>", "<frame_end>", "<im_low>", "<|image|>", "<|video|>"),
)
_MORE: Final = 8
"""Rows of a second table of embeddings behind the first one; none is used."""


def _molmo2(layers: int, kv_heads: int, heads: int) -> Any:
    ids = {mark.strip("<|>"): WORDS + number for number, mark in enumerate(_MARKS)}
    text = text_config(layers, kv_heads, heads, marks=len(_MARKS), head_dim=WIDTH // heads)
    attends = {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": WIDTH // 4}
    return _hf.Molmo2Config(
        vision_config={
            **attends,
            "hidden_size": WIDTH,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "initializer_range": SCALE,
            "image_size": [SIDE, SIDE],
            "patch_size": PATCH,
            "num_position_embeddings": (SIDE // PATCH) ** 2,
        },
        adapter_config={
            **attends,
            "hidden_size": WIDTH,
            "intermediate_size": 48,
            "text_hidden_size": WIDTH,
            "initializer_range": SCALE,
            "vision_feature_layer": [-1],
        },
        text_config={**text, "additional_vocab_size": _MORE},
        image_patch_id=ids["im_patch"],
        image_col_id=ids["im_col"],
        image_start_token_id=ids["im_start"],
        low_res_image_start_token_id=ids["low_res_im_start"],
        frame_start_token_id=ids["frame_start"],
        image_end_token_id=ids["im_end"],
        frame_end_token_id=ids["frame_end"],
        tie_word_embeddings=False,
    )


def _molmo2_processor() -> Any:
    check_torchvision("Molmo2")
    pixels = _hf.Molmo2ImageProcessor(
        size=SQUARE, patch_size=PATCH, max_crops=4, overlap_margins=[1, 1], pooling_size=[2, 2]
    )
    return _hf.Molmo2Processor(
        pixels,
        _hf.Molmo2VideoProcessor(size=SQUARE, patch_size=PATCH),
        byte_tokenizer(*_MARKS),
        chat_template=chat_template("<|image|>", video="<|video|>"),
    )


MOLMO: Final = {
    "molmo2": TinyFamily("Molmo2ForConditionalGeneration", _molmo2, _molmo2_processor),
}
