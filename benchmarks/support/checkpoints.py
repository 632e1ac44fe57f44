"""Random models of the exact shapes of well-known checkpoints, on any device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from support.models import sharpened

SYSTEM, QUESTION = 35, 20
"""Text tokens before and behind the image, as in LLaVA-1.5's official prompt."""


@dataclass(frozen=True)
class Checkpoint:
    """A shape.

    Attributes:
        kind: the model's class.
        config: makes its config; ``True`` makes one of the same form that a test can run.
        beta: of LocoRE, the paper's.
    """

    kind: type[PreTrainedModel]
    config: Callable[[bool], PreTrainedConfig]
    beta: float


def _llava(width: int, mlp: int, layers: int, heads: int) -> Callable[[bool], PreTrainedConfig]:
    def config(tiny: bool) -> PreTrainedConfig:
        vision = {
            "model_type": "clip_vision_model",
            "hidden_size": 32 if tiny else 1024,
            "intermediate_size": 64 if tiny else 4096,
            "num_hidden_layers": 2 if tiny else 24,
            "num_attention_heads": 2 if tiny else 16,
            "image_size": 56 if tiny else 336,
            "patch_size": 14,
            "projection_dim": 32 if tiny else 768,
        }
        text = {
            "model_type": "llama",
            "vocab_size": 256 if tiny else 32064,
            "hidden_size": 64 if tiny else width,
            "intermediate_size": 128 if tiny else mlp,
            "num_hidden_layers": 4 if tiny else layers,
            "num_attention_heads": 2 if tiny else heads,
            "num_key_value_heads": 2 if tiny else heads,
            "max_position_embeddings": 4096,
        }
        patches = vision["image_size"] // vision["patch_size"]
        return LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=255 if tiny else 32000,
            image_seq_length=patches**2,
        )

    return config


def _qwen(
    kind: type[PreTrainedConfig],
    vision: dict[str, Any],
    width: int,
    mlp: int,
    layers: int,
    heads: tuple[int, int],
) -> Callable[[bool], PreTrainedConfig]:
    def config(tiny: bool) -> PreTrainedConfig:
        half = 16 if tiny else width // heads[0] // 2
        sections = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
        text = {
            "vocab_size": 256 if tiny else 152064,
            "hidden_size": 64 if tiny else width,
            "intermediate_size": 128 if tiny else mlp,
            "num_hidden_layers": 4 if tiny else layers,
            "num_attention_heads": 2 if tiny else heads[0],
            "num_key_value_heads": 1 if tiny else heads[1],
            "max_position_embeddings": 32768,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": sections,
            },
        }
        small = {"depth": 2, "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2}
        # The width of the tower goes by two names, and so does that of what it hands over.
        small |= {name: 32 for name in ("embed_dim",) if name in vision}
        small |= {"hidden_size": 64 if "embed_dim" in vision else 32}
        small |= {"out_hidden_size": 64} if "out_hidden_size" in vision else {}
        small |= {"fullatt_block_indexes": [1]} if "out_hidden_size" in vision else {}
        first = 251 if tiny else 151652
        return kind(
            vision_config=small if tiny else vision,
            text_config=text,
            vision_start_token_id=first,
            vision_end_token_id=first + 1,
            image_token_id=first + 3,
            video_token_id=first + 4,
            tie_word_embeddings=False,
        )

    return config


_QWEN2 = {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16, "mlp_ratio": 4}
_QWEN25 = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3456,
    "out_hidden_size": 5120,
    "num_heads": 16,
    "fullatt_block_indexes": [7, 15, 23, 31],
}

CHECKPOINTS = {
    "LLaVA-1.5-7B": Checkpoint(
        LlavaForConditionalGeneration, _llava(4096, 11008, 32, 32), beta=0.15
    ),
    "LLaVA-1.5-13B": Checkpoint(
        LlavaForConditionalGeneration, _llava(5120, 13824, 40, 40), beta=0.15
    ),
    "Qwen2-VL-7B": Checkpoint(
        Qwen2VLForConditionalGeneration,
        _qwen(Qwen2VLConfig, _QWEN2, 3584, 18944, 28, (28, 4)),
        beta=0.2,
    ),
    "Qwen2.5-VL-32B": Checkpoint(
        Qwen2_5_VLForConditionalGeneration,
        _qwen(Qwen2_5_VLConfig, _QWEN25, 5120, 27648, 64, (40, 8)),
        beta=0.2,
    ),
}


def parameters(checkpoint: Checkpoint, *, tiny: bool) -> int:
    """How many, without making them."""
    with torch.device("meta"):
        model = checkpoint.kind(checkpoint.config(tiny))
    return sum(p.numel() for p in model.parameters())


def build(
    checkpoint: Checkpoint, *, tiny: bool, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    """The model with random weights, made on the device; it never ends an answer by itself."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = checkpoint.kind(checkpoint.config(tiny)).eval()
    finally:
        torch.set_default_dtype(before)
    model.generation_config.eos_token_id = None
    return sharpened(model.requires_grad_(False))


def prompt(model: PreTrainedModel) -> dict[str, Tensor]:
    """One image of 576 tokens (16 where the model is tiny) between a system text and a question."""
    config, device, dtype = model.config, model.device, model.dtype
    generator = torch.Generator().manual_seed(1)
    tiny = config.text_config.vocab_size == 256
    side = 4 if tiny else 24

    def text(length: int) -> list[int]:
        return torch.randint(3, 250, (length,), generator=generator).tolist()

    image = [config.image_token_id] * side**2
    qwen = hasattr(config, "vision_start_token_id")
    if qwen:
        image = [config.vision_start_token_id, *image, config.vision_end_token_id]
    ids = torch.tensor([[*text(SYSTEM), *image, *text(QUESTION)]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if qwen:
        patches = 4 * side**2
        inputs["pixel_values"] = torch.randn(patches, 3 * 2 * 14 * 14, generator=generator)
        inputs["image_grid_thw"] = torch.tensor([[1, 2 * side, 2 * side]])
        inputs["mm_token_type_ids"] = (ids == config.image_token_id).long()
    else:
        inputs["pixel_values"] = torch.randn(1, 3, 14 * side, 14 * side, generator=generator)
    inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    return {name: value.to(device) for name, value in inputs.items()}
