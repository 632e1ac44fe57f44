"""The two pocket models, untrained: configurations and processors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    BaseImageProcessor,
    CLIPImageProcessor,
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
)

from lvlmsal.pocket.training.dialogue import DIALOGUES, LLAVA_TEMPLATE, QWEN_TEMPLATE, Dialogue
from lvlmsal.pocket.training.tokenizer import build_tokenizer

PATCH: Final = 8
"""Side of a vision patch in pixels, in both models."""


@dataclass(frozen=True)
class Pocket:
    """A pocket model with all that is needed to feed and to save it.

    Attributes:
        name: ``"pocket-llava"`` or ``"pocket-qwen2vl"``.
        model: The model, in float32.
        tokenizer: Its tokenizer, which holds the chat template.
        image_processor: Its image processor.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    image_processor: BaseImageProcessor

    @property
    def dialogue(self) -> Dialogue:
        """How its turns are strung together."""
        return DIALOGUES[self.name]

    def save(self, folder: Path) -> None:
        """Write what ``from_pretrained`` reads: weights, configurations, tokenizer, processor.

        Args:
            folder: Made if missing; files of the same names are replaced.
        """
        self.model.save_pretrained(folder)
        # safetensors writes for the owner alone; an installed package serves every user
        (folder / "model.safetensors").chmod(0o644)
        if self.name == "pocket-llava":
            make: Any = LlavaProcessor  # its __init__ is untyped
            make(
                image_processor=self.image_processor,
                tokenizer=self.tokenizer,
                patch_size=PATCH,
                vision_feature_select_strategy="default",
                num_additional_image_tokens=1,
                chat_template=self.tokenizer.chat_template,
            ).save_pretrained(folder)
            return
        # Qwen2VLProcessor cannot be built without torchvision (its video part needs it), so its
        # files are written piece by piece; with torchvision AutoProcessor puts them together
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
        pieces: dict[str, dict[str, Any]] = {
            "processor_config.json": {"processor_class": "Qwen2VLProcessor"},
            "video_preprocessor_config.json": {
                "video_processor_type": "Qwen2VLVideoProcessor",
                "patch_size": PATCH,
                "temporal_patch_size": 2,
                "merge_size": 2,
                "size": _QWEN_SIZE,
            },
        }
        for name, content in pieces.items():
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


_QWEN_SIZE: Final = {"shortest_edge": 32 * 32, "longest_edge": 128 * 128}


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The id of one token."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def _generation(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    make: Any = GenerationConfig  # its __init__ is untyped
    config: GenerationConfig = make(max_new_tokens=96, do_sample=False, **_specials(tokenizer))
    return config


def _specials(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _text(tokenizer: PreTrainedTokenizerFast, **sizes: Any) -> dict[str, Any]:
    """What the text configurations of both models share."""
    return {
        **_specials(tokenizer),
        "vocab_size": len(tokenizer),
        "hidden_size": 160,
        "intermediate_size": 448,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        **sizes,
    }


def _sine_positions(side: int, width: int, amplitude: float = 0.4) -> torch.Tensor:
    """Sine waves over rows and columns, (side * side, width): neighbors start out alike.

    An object spans several patches, so a tower must first find out which patches are neighbors;
    with random positions that takes most of a short training.
    """
    waves = width // 4
    rates = torch.pi / 2 ** torch.linspace(0.0, 3.0, waves)
    angles = torch.arange(side)[:, None] * rates
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows = axis[:, None].expand(side, side, -1)
    columns = axis[None].expand(side, side, -1)
    return amplitude * torch.cat([rows, columns], dim=2).reshape(side * side, width)


def _build_llava(tiny: bool) -> Pocket:
    tokenizer = build_tokenizer(
        ("<pad>", "<s>", "</s>", "<unk>", "<image>"), pad="<pad>", bos="<s>", eos="</s>"
    )
    tokenizer.chat_template = LLAVA_TEMPLATE
    small = {"hidden_size": 32, "intermediate_size": 64} if tiny else {}
    text = _text(tokenizer, rope_parameters={"rope_type": "default", "rope_theta": 1e4}, **small)
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": 32 if tiny else 128,
        "intermediate_size": 64 if tiny else 512,
        "num_hidden_layers": 2 if tiny else 4,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": PATCH,
        "projection_dim": 128,
    }
    config = LlavaConfig(
        vision_config=vision,
        text_config={"model_type": "llama", **text},
        image_token_index=token_id(tokenizer, "<image>"),
        image_seq_length=(64 // PATCH) ** 2,
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        tie_word_embeddings=False,
        **_specials(tokenizer),
    )
    model = LlavaForConditionalGeneration(config)
    positions: Any = model.model.vision_tower.embeddings.position_embedding.weight
    positions.data[1:] = _sine_positions(64 // PATCH, positions.shape[1])
    model.generation_config = _generation(tokenizer)
    # the whole image is scaled to the square that the tower takes: a crop would cut objects off
    square = {"height": 64, "width": 64}
    processor = CLIPImageProcessor(size=square, do_center_crop=False, crop_size=square)
    return Pocket("pocket-llava", model, tokenizer, processor)


def _build_qwen2vl(tiny: bool) -> Pocket:
    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = build_tokenizer(
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>", *marks),
        pad="<|endoftext|>",
        bos="<|im_start|>",
        eos="<|im_end|>",
    )
    tokenizer.chat_template = QWEN_TEMPLATE
    small = {"hidden_size": 32, "intermediate_size": 64} if tiny else {}
    sections = [1, 1, 2] if tiny else [6, 7, 7]
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections}
    text = _text(tokenizer, rope_parameters=rope, **small)
    vision = {
        "depth": 2 if tiny else 4,
        "embed_dim": 32 if tiny else 128,
        "hidden_size": text["hidden_size"],
        "num_heads": 4,
        "mlp_ratio": 2 if tiny else 4,
        "patch_size": PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    mark_ids: dict[str, Any] = {
        f"{key}_token_id": token_id(tokenizer, mark)
        for key, mark in zip(("vision_start", "vision_end", "image", "video"), marks, strict=True)
    }
    config = Qwen2VLConfig(
        vision_config=vision,
        text_config=text,
        tie_word_embeddings=False,
        **mark_ids,
        **_specials(tokenizer),
    )
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config = _generation(tokenizer)
    processor = Qwen2VLImageProcessor(
        patch_size=PATCH, temporal_patch_size=2, merge_size=2, size=dict(_QWEN_SIZE)
    )
    return Pocket("pocket-qwen2vl", model, tokenizer, processor)


def build(name: str, *, tiny: bool = False) -> Pocket:
    """Make an untrained pocket model. Set the torch seed first if its weights shall be repeatable.

    Args:
        name: ``"pocket-llava"`` or ``"pocket-qwen2vl"``.
        tiny: A far smaller one of the same make, for tests.

    Returns:
        The model with its tokenizer and image processor.

    Raises:
        ValueError: There is no such model.
    """
    if name == "pocket-llava":
        return _build_llava(tiny)
    if name == "pocket-qwen2vl":
        return _build_qwen2vl(tiny)
    raise ValueError(f"unknown pocket model {name!r}; known: {', '.join(sorted(DIALOGUES))}")
