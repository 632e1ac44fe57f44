"""Tiny families whose images keep their shape: the more pixels, the more visual tokens."""

from __future__ import annotations

from typing import Any, Final

import transformers

from lvlmsal.adapters.processors import (
    ImageOnlyGlm4vProcessor,
    ImageOnlyGlm46VProcessor,
    ImageOnlyQwen3VLProcessor,
    ImageOnlyQwen25OmniProcessor,
    ImageOnlyVideoLlama3Processor,
)
from lvlmsal.tiny.parts import (
    SCALE,
    WIDTH,
    WORDS,
    TinyFamily,
    byte_tokenizer,
    chat_template,
    text_config,
    vision_config,
)
from lvlmsal.tiny.processors import QWEN_PATCH

_hf: Any = transformers  # whose types lack the aliases of options
_QWEN: Final = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
_OMNI: Final = {
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_token": "<|AUDIO|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
_GLM: Final = (
    "<|image|>",
    "<|video|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
)


def _tower(**changes: Any) -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": WIDTH,
        "out_hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_heads": 4,
        "patch_size": QWEN_PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "initializer_range": SCALE,
        **changes,
    }


def _rope(head: int, **changes: Any) -> dict[str, Any]:
    """Rotary positions in time, height and width, for heads of a size."""
    third = head // 2 // 3
    sections = [head // 2 - 2 * third, third, third]
    return {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": sections,
        **changes,
    }


def _images(build: Any) -> Any:
    block = (2 * QWEN_PATCH) ** 2
    return build(
        patch_size=QWEN_PATCH,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": block, "longest_edge": 12 * block},
    )


def _ids() -> dict[str, Any]:
    return {
        "image_token_id": WORDS,
        "video_token_id": WORDS + 1,
        "vision_start_token_id": WORDS + 2,
        "vision_end_token_id": WORDS + 3,
        "tie_word_embeddings": False,
    }


def _qwen3(layers: int, kv_heads: int, heads: int, **experts: Any) -> dict[str, Any]:
    # Features of its tower's first two layers are added behind as many layers of the decoder.
    head = WIDTH // heads
    return {
        "vision_config": _tower(
            depth=3, num_position_embeddings=64, deepstack_visual_indexes=[0, 1]
        ),
        "text_config": text_config(
            layers,
            kv_heads,
            heads,
            head_dim=head,
            rope_parameters=_rope(head, mrope_interleaved=True),
            **experts,
        ),
        **_ids(),
    }


def _qwen3_vl(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.Qwen3VLConfig(**_qwen3(layers, kv_heads, heads))


def _qwen3_vl_moe(layers: int, kv_heads: int, heads: int) -> Any:
    experts = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "decoder_sparse_step": 1,
    }
    return _hf.Qwen3VLMoeConfig(**_qwen3(layers, kv_heads, heads, **experts))


def _qwen3_vl_processor() -> Any:
    build: Any = ImageOnlyQwen3VLProcessor  # its init has no types
    return build(
        _images(_hf.Qwen2VLImageProcessor),
        byte_tokenizer(*_QWEN),
        chat_template=chat_template(
            _QWEN[2] + _QWEN[0] + _QWEN[3], video=_QWEN[2] + _QWEN[1] + _QWEN[3]
        ),
    )


def _omni_thinker(layers: int, kv_heads: int, heads: int) -> Any:
    sound = {
        "d_model": WIDTH,
        "encoder_layers": 1,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "output_dim": WIDTH,
        "num_mel_bins": 16,
        "n_window": 10,
        "max_source_positions": 50,
    }
    return _hf.Qwen2_5OmniThinkerConfig(
        vision_config=_tower(window_size=16, fullatt_block_indexes=[1]),
        audio_config=sound,
        text_config=text_config(
            layers, kv_heads, heads, marks=len(_OMNI), rope_parameters=_rope(WIDTH // heads)
        ),
        image_token_index=WORDS,
        video_token_index=WORDS + 1,
        audio_token_id=WORDS + 4,
        audio_token_index=WORDS + 4,
        audio_start_token_id=WORDS + 5,
        audio_end_token_id=WORDS + 6,
        **_ids(),
    )


def _omni_processor() -> Any:
    image, video = (
        "".join(_OMNI[name] for name in ("vision_bos_token", mark, "vision_eos_token"))
        for mark in ("image_token", "video_token")
    )
    build: Any = ImageOnlyQwen25OmniProcessor  # its init has no types
    return build(
        image_processor=_images(_hf.Qwen2VLImageProcessor),
        feature_extractor=_hf.WhisperFeatureExtractor(feature_size=16),
        tokenizer=byte_tokenizer(*_OMNI.values(), **_OMNI),
        chat_template=chat_template(image, video=video),
    )


def _glm(layers: int, kv_heads: int, heads: int) -> dict[str, Any]:
    head = WIDTH // heads
    return {
        "vision_config": _tower(model_type="glm4v_vision", image_size=32),
        "text_config": text_config(
            layers,
            kv_heads,
            heads,
            marks=len(_GLM),
            model_type="glm4v_text",
            # It rotates half of each head.
            rope_parameters=_rope(head // 2, partial_rotary_factor=0.5),
        ),
        "image_token_id": WORDS,
        "video_token_id": WORDS + 1,
        "image_start_token_id": WORDS + 2,
        "image_end_token_id": WORDS + 3,
        "video_start_token_id": WORDS + 4,
        "video_end_token_id": WORDS + 5,
        "tie_word_embeddings": False,
    }


def _glm4v(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.Glm4vConfig(**_glm(layers, kv_heads, heads))


def _glm46v(layers: int, kv_heads: int, heads: int) -> Any:
    return _hf.Glm46VConfig(**_glm(layers, kv_heads, heads))


def _glm_processor(build: Any, images: Any) -> Any:
    return build(
        _images(images),
        byte_tokenizer(*_GLM),
        chat_template=chat_template(_GLM[2] + _GLM[0] + _GLM[3], video=_GLM[4] + _GLM[1] + _GLM[5]),
    )


def _glm4v_processor() -> Any:
    return _glm_processor(ImageOnlyGlm4vProcessor, _hf.Glm4vImageProcessor)


def _glm46v_processor() -> Any:
    return _glm_processor(ImageOnlyGlm46VProcessor, _hf.Glm46VImageProcessor)


def _video_llama_3(layers: int, kv_heads: int, heads: int) -> Any:
    vision = vision_config(patch_size=QWEN_PATCH)
    del vision["image_size"]
    return _hf.VideoLlama3Config(
        vision_config=vision,
        text_config=text_config(layers, kv_heads, heads, marks=2, model_type="qwen2"),
        image_token_id=WORDS,
        video_token_id=WORDS + 1,
        tie_word_embeddings=False,
    )


def _video_llama_3_processor() -> Any:
    side = QWEN_PATCH**2
    build: Any = ImageOnlyVideoLlama3Processor  # its init has no types
    return build(
        _hf.VideoLlama3ImageProcessor(
            patch_size=QWEN_PATCH, merge_size=1, min_pixels=4 * side, max_pixels=24 * side
        ),
        byte_tokenizer(*_QWEN[:2]),
        chat_template=chat_template(f"{_QWEN[0]}\n", video=f"{_QWEN[1]}\n"),
    )


QWEN_LIKE: Final = {
    "qwen3_vl": TinyFamily("Qwen3VLForConditionalGeneration", _qwen3_vl, _qwen3_vl_processor),
    "qwen3_vl_moe": TinyFamily(
        "Qwen3VLMoeForConditionalGeneration", _qwen3_vl_moe, _qwen3_vl_processor
    ),
    "qwen2_5_omni_thinker": TinyFamily(
        "Qwen2_5OmniThinkerForConditionalGeneration", _omni_thinker, _omni_processor
    ),
    "glm4v": TinyFamily("Glm4vForConditionalGeneration", _glm4v, _glm4v_processor),
    "glm46v": TinyFamily("Glm46VForConditionalGeneration", _glm46v, _glm46v_processor),
    "video_llama_3": TinyFamily(
        "VideoLlama3ForConditionalGeneration", _video_llama_3, _video_llama_3_processor
    ),
}
