"""Tiny families whose images have a shape of their own: cut into tiles, or of any size."""

from __future__ import annotations

from typing import Any, Final

import transformers

from lvlmsal.adapters.processors import (
    ImageOnlyLlavaNextVideoProcessor,
    ImageOnlyLlavaOnevisionProcessor,
)
from lvlmsal.tiny.parts import (
    PATCH,
    SIDE,
    SQUARE,
    WIDTH,
    WORDS,
    TinyFamily,
    byte_tokenizer,
    chat_template,
    check_torchvision,
    text_config,
    vision_config,
)

_hf: Any = transformers  # whose types lack the aliases of options
_PINPOINTS: Final = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
"""Sizes into whose tiles an image of LLaVA-NeXT is cut."""

_MERGE: Final = 2
"""Side of the blocks of patches that become one visual token."""

_ANY_SIZE: Final = 8
"""Side of a patch of Pixtral in pixels."""


def _clip() -> dict[str, Any]:
    return vision_config(model_type="clip_vision_model", projection_dim=WIDTH)


def _siglip() -> dict[str, Any]:
    return vision_config(model_type="siglip_vision_model", vision_use_head=False)


def _llava_next(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.LlavaNextConfig(
        vision_config=_clip(),
        text_config=text_config(layers, kv_heads, heads, model_type="llama"),
        image_token_index=WORDS,
        image_grid_pinpoints=_PINPOINTS,
        tie_word_embeddings=False,
    )


def _llava_next_processor(build: Any, *parts: Any, **options: Any) -> Any:
    pixels = _hf.LlavaNextImageProcessor(
        size={"shortest_edge": SIDE}, crop_size=SQUARE, image_grid_pinpoints=_PINPOINTS
    )
    return build(
        *parts,
        pixels,
        byte_tokenizer("<image>", "<video>"),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("<image>\n", video="<video>\n", begin=True),
        **options,
    )


def _llava_next_video(layers: int, kv_heads: int, heads: int) -> Any:
    config = _llava_next(layers, kv_heads, heads).to_dict()
    del config["model_type"]
    return _hf.LlavaNextVideoConfig(**config, video_token_index=WORDS + 1)


def _llava_onevision(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.LlavaOnevisionConfig(
        vision_config=_siglip(),
        text_config=text_config(layers, kv_heads, heads, model_type="qwen2"),
        image_token_index=WORDS,
        video_token_index=WORDS + 1,
        image_grid_pinpoints=_PINPOINTS,
        # one that the grid of a 2 x 2 of tiles exceeds
        vision_aspect_ratio="anyres_max_2",
        tie_word_embeddings=False,
    )


def _llava_onevision_processor() -> Any:
    build: Any = ImageOnlyLlavaOnevisionProcessor  # its init has no types
    return build(
        _hf.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=_PINPOINTS),
        byte_tokenizer("<image>", "<video>"),
        num_image_tokens=(SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_2",
        chat_template=chat_template("<image>\n", video="<video>\n"),
    )


def _cohere_text(layers: int, kv_heads: int, heads: int, marks: int) -> dict[str, Any]:
    return text_config(
        layers, kv_heads, heads, marks=marks, model_type="cohere2", sliding_window=64
    )


_TILES: Final = 4
"""Tiles of an image at most."""

_AYA: Final = (
    *("<|IMG_PATCH|>", "<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_LINE_BREAK|>"),
    *("TILE", "TILE_GLOBAL", *(f"TILE_{number}" for number in range(1, _TILES + 1))),
)


def _aya_vision(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.AyaVisionConfig(
        vision_config=_siglip(),
        text_config=_cohere_text(layers, kv_heads, heads, len(_AYA)),
        vision_feature_select_strategy="full",
        downsample_factor=_MERGE,
        image_token_index=WORDS,
        tie_word_embeddings=False,
    )


def _aya_vision_processor() -> Any:
    pixels = _hf.GotOcr2ImageProcessor(
        size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=_TILES
    )
    return _hf.AyaVisionProcessor(
        pixels,
        byte_tokenizer(*_AYA),
        patch_size=PATCH,
        img_size=SIDE,
        downsample_factor=_MERGE,
        chat_template=chat_template("<image>", begin=True),
    )


_COHERE: Final = ("<|IMG_PATCH|>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_LINE_BREAK|>")


def _cohere2_vision(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.Cohere2VisionConfig(
        vision_config=_siglip(),
        text_config=_cohere_text(layers, kv_heads, heads, len(_COHERE)),
        downsample_factor=_MERGE,
        image_token_id=WORDS,
        alignment_intermediate_size=2 * WIDTH,
        tie_word_embeddings=False,
    )


def _cohere2_vision_processor() -> Any:
    check_torchvision("Cohere2 Vision")
    image, begin, end, line = _COHERE
    # What it calls patch_size is the side of a tile in visual tokens.
    pixels = _hf.Cohere2VisionImageProcessor(
        size=SQUARE, max_patches=_TILES, patch_size=SIDE // PATCH // _MERGE
    )
    names = {"boi_token": begin, "eoi_token": end, "img_line_break_token": line}
    return _hf.Cohere2VisionProcessor(
        pixels,
        byte_tokenizer(*_COHERE, image_token=image, **names),
        chat_template=chat_template(image, begin=True),
    )


def _any_size() -> dict[str, Any]:
    return vision_config(
        model_type="pixtral", image_size=8 * _ANY_SIZE, patch_size=_ANY_SIZE, head_dim=8
    )


def _mistral(layers: int, kv_heads: int, heads: int) -> dict[str, Any]:
    more: dict[str, Any] = {
        "model_type": "mistral",
        "head_dim": WIDTH // heads,
        "sliding_window": None,
    }
    return text_config(layers, kv_heads, heads, **more)


def _mistral3(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.Mistral3Config(
        vision_config=_any_size(),
        text_config=_mistral(layers, kv_heads, heads),
        image_token_index=WORDS,
        spatial_merge_size=_MERGE,
        tie_word_embeddings=False,
    )


def _pixtral(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.LlavaConfig(
        vision_config=_any_size(),
        text_config=_mistral(layers, kv_heads, heads),
        image_token_index=WORDS,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        image_seq_length=1,
        tie_word_embeddings=False,
    )


def _pixtral_processor(merge: int) -> Any:
    check_torchvision("Pixtral")
    side = _ANY_SIZE * merge
    pixels = _hf.PixtralImageProcessor(
        size={"longest_edge": 8 * _ANY_SIZE}, patch_size={"height": side, "width": side}
    )
    return _hf.PixtralProcessor(
        pixels,
        byte_tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
        patch_size=_ANY_SIZE,
        spatial_merge_size=merge,
        chat_template=chat_template("[IMG]", begin=True),
    )


_OVIS: Final = (
    *("<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"),
    "<image>",
)


def _ovis2(layers: int, kv_heads: int, heads: int) -> Any:
    text = text_config(layers, kv_heads, heads, marks=len(_OVIS), model_type="qwen2")
    return _hf.Ovis2Config(
        vision_config=vision_config(
            vocab_size=2 * WIDTH, hidden_stride=_MERGE, num_visual_indicator_tokens=5
        ),
        text_config=text,
        image_token_id=WORDS,
        visual_indicator_token_ids=list(range(WORDS + 1, WORDS + 6)),
        vocab_size=text["vocab_size"],
        hidden_size=WIDTH,
        tie_word_embeddings=False,
    )


def _ovis2_processor() -> Any:
    pixels = _hf.Ovis2ImageProcessor(
        size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=_TILES
    )
    return _hf.Ovis2Processor(
        pixels,
        byte_tokenizer(*_OVIS),
        image_seq_length=(SIDE // PATCH // _MERGE) ** 2,
        chat_template=chat_template("<image>"),
    )


TILE_LIKE: Final = {
    "llava_next": TinyFamily(
        "LlavaNextForConditionalGeneration",
        _llava_next,
        lambda: _llava_next_processor(_hf.LlavaNextProcessor),
    ),
    "llava_next_video": TinyFamily(
        "LlavaNextVideoForConditionalGeneration",
        _llava_next_video,
        lambda: _llava_next_processor(ImageOnlyLlavaNextVideoProcessor, None),
    ),
    "llava_onevision": TinyFamily(
        "LlavaOnevisionForConditionalGeneration", _llava_onevision, _llava_onevision_processor
    ),
    "aya_vision": TinyFamily(
        "AyaVisionForConditionalGeneration", _aya_vision, _aya_vision_processor
    ),
    "cohere2_vision": TinyFamily(
        "Cohere2VisionForConditionalGeneration", _cohere2_vision, _cohere2_vision_processor
    ),
    "ovis2": TinyFamily("Ovis2ForConditionalGeneration", _ovis2, _ovis2_processor),
    "mistral3": TinyFamily(
        "Mistral3ForConditionalGeneration", _mistral3, lambda: _pixtral_processor(_MERGE)
    ),
    "pixtral": TinyFamily(
        "LlavaForConditionalGeneration",
        _pixtral,
        lambda: _pixtral_processor(1),
        adapter="LlavaForConditionalGeneration/pixtral",
    ),
}
