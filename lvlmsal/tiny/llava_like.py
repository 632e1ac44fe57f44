"""Tiny families in the form of LLaVA: square images of one size, or tiles of that size."""

from __future__ import annotations

from typing import Any, Final

import transformers

from lvlmsal.adapters import concentric
from lvlmsal.adapters.processors import (
    ImageOnlyPerceptionLMProcessor,
    ImageOnlyVideoLlavaProcessor,
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
_TOKENS: Final = (SIDE // PATCH) ** 2
_POOLED: Final = 2
"""Side of the blocks of patches that PerceptionLM averages."""

_CONVOLUTION: Final = 16
"""Side of the square that the last features of a convolutional tower stand for, in pixels."""


def _vipllava(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.VipLlavaConfig(
        vision_config=vision_config(model_type="clip_vision_model", projection_dim=WIDTH),
        text_config=text_config(layers, kv_heads, heads, model_type="llama"),
        image_token_index=WORDS,
        vision_feature_layers=[-2, -1],
        image_seq_length=_TOKENS,
        tie_word_embeddings=False,
    )


def _vipllava_processor() -> Any:
    return _hf.LlavaProcessor(
        _hf.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SQUARE),
        byte_tokenizer("<image>"),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("<image>\n", begin=True),
    )


def _video_llava(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.VideoLlavaConfig(
        vision_config=vision_config(model_type="clip_vision_model", projection_dim=WIDTH),
        text_config=text_config(layers, kv_heads, heads, model_type="llama"),
        image_token_index=WORDS,
        video_token_index=WORDS + 1,
        image_seq_length=_TOKENS,
        tie_word_embeddings=False,
    )


def _video_llava_processor() -> Any:
    build: Any = ImageOnlyVideoLlavaProcessor  # its init has no types
    return build(
        _hf.VideoLlavaImageProcessor(size={"shortest_edge": SIDE}, crop_size=SQUARE),
        None,
        byte_tokenizer("<image>", "<video>"),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template(
            "<image>\n", video="<video>\n", begin=True, user="USER: ", answer=" ASSISTANT:"
        ),
    )


def _perception_lm(layers: int, kv_heads: int, heads: int) -> Any:
    # Its checkpoints have a tower of the package timm; this one is of transformers.
    vision = vision_config(
        model_type="clip_vision_model", projection_dim=WIDTH, model_args={"embed_dim": WIDTH}
    )
    return _hf.PerceptionLMConfig(
        vision_config=vision,
        text_config=text_config(layers, kv_heads, heads, model_type="llama"),
        image_token_id=WORDS,
        video_token_id=WORDS + 1,
        projector_pooling_ratio=_POOLED,
        tie_word_embeddings=False,
    )


def _perception_lm_processor() -> Any:
    check_torchvision("PerceptionLM")
    image, video = marks = ("<|image|>", "<|video|>")
    build: Any = ImageOnlyPerceptionLMProcessor
    return build(
        None,
        _hf.PerceptionLMImageProcessor(
            tile_size=SIDE, max_num_tiles=4, vision_input_type="thumb+tile"
        ),
        byte_tokenizer(*marks, image_token=image, video_token=video),
        patch_size=PATCH,
        pooling_ratio=_POOLED,
        chat_template=chat_template(f"{image}\n", video=f"{video}\n", begin=True),
    )


def _fast_vlm(layers: int, kv_heads: int, heads: int) -> Any:
    # Its checkpoints have a convolutional tower of the package timm; this one is of transformers.
    vision = {
        "model_type": "resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, WIDTH, WIDTH],
        "depths": [1, 1, 1],
        "layer_type": "basic",
        "hidden_size": WIDTH,
    }
    return _hf.FastVlmConfig(
        vision_config=vision,
        text_config=text_config(layers, kv_heads, heads, model_type="qwen2"),
        image_token_id=WORDS,
        tie_word_embeddings=False,
    )


def _fast_vlm_processor() -> Any:
    side = 4 * _CONVOLUTION
    return _hf.LlavaProcessor(
        _hf.CLIPImageProcessor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        ),
        byte_tokenizer("<image>"),
        patch_size=_CONVOLUTION,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=chat_template("<image>\n"),
    )


def _deepseek_vl(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.DeepseekVLConfig(
        vision_config=vision_config(model_type="siglip_vision_model", vision_use_head=False),
        text_config=text_config(layers, kv_heads, heads, model_type="llama"),
        image_token_id=WORDS,
        tie_word_embeddings=False,
    )


def _deepseek_vl_processor() -> Any:
    mark = "<image_placeholder>"
    return _hf.DeepseekVLProcessor(
        _hf.DeepseekVLImageProcessor(size=SQUARE, min_size=PATCH),
        byte_tokenizer(mark, image_token=mark),
        chat_template=chat_template(f"{mark}\n", begin=True),
        num_image_tokens=_TOKENS,
    )


def _janus(layers: int, kv_heads: int, heads: int) -> Any:
    vision = vision_config(projection_dim=WIDTH, mlp_ratio=2.0, num_image_tokens=_TOKENS)
    del vision["intermediate_size"]
    # Of the codebook by which it draws images, which no question asks for.
    drawing = {
        "embed_dim": 8,
        "num_embeddings": 16,
        "latent_channels": 8,
        "base_channels": 32,
        "channel_multiplier": [1, 1],
        "num_res_blocks": 1,
        "projection_dim": WIDTH,
        "image_token_embed_dim": WIDTH,
        "num_patches": 4,
    }
    return _hf.JanusConfig(
        text_config=text_config(layers, kv_heads, heads, model_type="llama"),
        vision_config=vision,
        vq_config=drawing,
        image_token_id=WORDS,
        tie_word_embeddings=False,
    )


def _janus_processor() -> Any:
    image, begin, end = marks = ("<image_placeholder>", "<begin_of_image>", "<end_of_image>")
    return _hf.JanusProcessor(
        _hf.JanusImageProcessor(size=SQUARE, min_size=PATCH),
        byte_tokenizer(*marks, image_token=image, boi_token=begin, eoi_token=end),
        chat_template=chat_template(f"{image}\n", begin=True),
        num_image_tokens=_TOKENS,
    )


def _cca_llava(layers: int, kv_heads: int, heads: int) -> Any:
    config: Any = concentric.CcaLlavaConfig
    return config(
        vision_config=vision_config(model_type="clip_vision_model", projection_dim=WIDTH),
        text_config=text_config(layers, kv_heads, heads, model_type="llama"),
        image_token_index=WORDS,
        image_seq_length=_TOKENS,
        tie_word_embeddings=False,
    )


LLAVA_LIKE: Final = {
    "cca_llava": TinyFamily(
        "CcaLlavaForConditionalGeneration", _cca_llava, _vipllava_processor, module=concentric
    ),
    "vipllava": TinyFamily("VipLlavaForConditionalGeneration", _vipllava, _vipllava_processor),
    "video_llava": TinyFamily(
        "VideoLlavaForConditionalGeneration", _video_llava, _video_llava_processor
    ),
    "perception_lm": TinyFamily(
        "PerceptionLMForConditionalGeneration", _perception_lm, _perception_lm_processor
    ),
    "fast_vlm": TinyFamily("FastVlmForConditionalGeneration", _fast_vlm, _fast_vlm_processor),
    "deepseek_vl": TinyFamily(
        "DeepseekVLForConditionalGeneration", _deepseek_vl, _deepseek_vl_processor
    ),
    "janus": TinyFamily("JanusForConditionalGeneration", _janus, _janus_processor),
}
