"""Tiny random models of every supported family, with inputs that `generate` takes as they are.

Nothing is downloaded and nothing is read from disk. The same seed gives the same weights and the
same inputs. Weights are larger than at the start of a training, so that attention is far from
uniform and logits are far apart: a test that mixes up two columns or two rows fails.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    SmolVLMConfig,
)

from lvlmsal.adapters.processors import without_advice
from lvlmsal.tiny.llava_like import LLAVA_LIKE
from lvlmsal.tiny.molmo import MOLMO
from lvlmsal.tiny.own_prompts import OWN_PROMPTS
from lvlmsal.tiny.parts import (
    IMAGE,
    IMAGE_END,
    IMAGE_START,
    PATCH,
    SCALE,
    SIDE,
    VIDEO,
    WIDTH,
    WORDS,
    TinyFamily,
    random_model,
    text_config,
    vision_config,
)
from lvlmsal.tiny.processors import IDEFICS_SIDE, QWEN_PATCH, tiny_processor
from lvlmsal.tiny.qwen_like import QWEN_LIKE
from lvlmsal.tiny.tile_like import TILE_LIKE

VOCABULARY: Final = WORDS + 4


def _qwen_text(layers: int, kv_heads: int, heads: int) -> dict[str, Any]:
    half = WIDTH // heads // 2
    sections = [half - 2 * (half // 3), half // 3, half // 3]
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections}
    return text_config(layers, kv_heads, heads, rope_parameters=rope)


def _llava(layers: int, kv_heads: int, heads: int) -> PreTrainedModel:
    config = LlavaConfig(
        vision_config=vision_config(model_type="clip_vision_model", projection_dim=WIDTH),
        text_config=text_config(layers, kv_heads, heads, model_type="llama"),
        image_token_index=IMAGE,
        image_seq_length=(SIDE // PATCH) ** 2,
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def _qwen_ids() -> dict[str, Any]:
    return {
        "image_token_id": IMAGE,
        "video_token_id": VIDEO,
        "vision_start_token_id": IMAGE_START,
        "vision_end_token_id": IMAGE_END,
        "tie_word_embeddings": False,
    }


def _qwen2_vl(layers: int, kv_heads: int, heads: int) -> PreTrainedModel:
    vision = {
        "depth": 2,
        "embed_dim": WIDTH,
        "hidden_size": WIDTH,
        "num_heads": 4,
        "mlp_ratio": 2,
        "patch_size": QWEN_PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "initializer_range": SCALE,
    }
    config = Qwen2VLConfig(
        vision_config=vision, text_config=_qwen_text(layers, kv_heads, heads), **_qwen_ids()
    )
    return Qwen2VLForConditionalGeneration(config)


def _qwen2_5_vl(layers: int, kv_heads: int, heads: int) -> PreTrainedModel:
    vision = {
        "depth": 2,
        "hidden_size": WIDTH,
        "out_hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_heads": 4,
        "patch_size": QWEN_PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "initializer_range": SCALE,
    }
    config = Qwen2_5_VLConfig(
        vision_config=vision, text_config=_qwen_text(layers, kv_heads, heads), **_qwen_ids()
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _internvl(layers: int, kv_heads: int, heads: int) -> PreTrainedModel:
    config = InternVLConfig(
        vision_config=vision_config(image_size=[SIDE, SIDE], patch_size=[PATCH, PATCH]),
        text_config=text_config(layers, kv_heads, heads, model_type="qwen2"),
        image_token_id=IMAGE,
        image_seq_length=(SIDE // PATCH // 2) ** 2,
        tie_word_embeddings=False,
    )
    return InternVLForConditionalGeneration(config)


def _idefics3_parts(layers: int, kv_heads: int, heads: int) -> dict[str, Any]:
    return {
        "vision_config": vision_config(image_size=IDEFICS_SIDE, patch_size=QWEN_PATCH),
        "text_config": text_config(layers, kv_heads, heads, model_type="llama"),
        "image_token_id": IMAGE,
        "scale_factor": 2,
        "tie_word_embeddings": False,
    }


def _idefics3(layers: int, kv_heads: int, heads: int) -> PreTrainedModel:
    return Idefics3ForConditionalGeneration(
        Idefics3Config(**_idefics3_parts(layers, kv_heads, heads))
    )


def _smolvlm(layers: int, kv_heads: int, heads: int) -> Any:
    return SmolVLMConfig(**_idefics3_parts(layers, kv_heads, heads))


TINY: Final[dict[str, Callable[[int, int, int], PreTrainedModel]]] = {
    "llava": _llava,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "internvl": _internvl,
    "idefics3": _idefics3,
}
"""Families whose samples `lvlmsal.tiny.samples` lays out by itself, in known places, so that most
tests run on them: name -> what builds the model from (layers, key-value heads, heads)."""

FURTHER: Final[dict[str, TinyFamily]] = {
    "smolvlm": TinyFamily(
        "SmolVLMForConditionalGeneration", _smolvlm, partial(tiny_processor, "idefics3")
    ),
    **LLAVA_LIKE,
    **QWEN_LIKE,
    **TILE_LIKE,
    **OWN_PROMPTS,
    **MOLMO,
}
"""Families whose samples their processors make."""

FAMILIES: Final = {
    "LlavaForConditionalGeneration": "llava",
    "Qwen2VLForConditionalGeneration": "qwen2_vl",
    "Qwen2_5_VLForConditionalGeneration": "qwen2_5_vl",
    "InternVLForConditionalGeneration": "internvl",
    "Idefics3ForConditionalGeneration": "idefics3",
    **{family.adapter or family.architecture: name for name, family in FURTHER.items()},
}
"""Name of an adapter, which is mostly that of the architecture in `config.json` -> family."""


def tiny_model(
    family: str,
    *,
    layers: int = 2,
    kv_heads: int = 2,
    heads: int = 4,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> PreTrainedModel:
    """Build a tiny random model of `family`.

    Args:
        family: A key of :data:`TINY` or :data:`FURTHER`.
        layers: Depth of the text decoder.
        kv_heads: Key-value heads; fewer than `heads` is grouped-query attention.
        heads: Attention heads; divides 32.
        dtype: Of the weights. They are drawn in float32, so that every dtype has the same model.
        seed: Of the weights. The global generator is left as it was.

    Returns:
        The model, in evaluation mode, on the CPU.
    """
    build = TINY[family] if family in TINY else FURTHER[family].model
    return random_model(lambda: build(layers, kv_heads, heads), dtype=dtype, seed=seed)


def tiny_lvlm(
    family: str,
    *,
    layers: int = 2,
    kv_heads: int = 2,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[PreTrainedModel, Any]:
    """Build a tiny random model and a real processor that fits it.

    Args:
        family: A key of :data:`TINY` or :data:`FURTHER`.
        layers: Depth of the text decoder.
        kv_heads: Key-value heads, of 4 heads.
        dtype: Of the weights.
        seed: Of the weights.

    Returns:
        The model, and a processor that takes real images and any text.
    """
    model = tiny_model(family, layers=layers, kv_heads=kv_heads, dtype=dtype, seed=seed)
    with without_advice():
        make = FURTHER[family].processor if family in FURTHER else partial(tiny_processor, family)
        return model, make()
