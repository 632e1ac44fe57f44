"""pocket-qwen2vl, a Qwen2-VL of the shape world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessor

from lvlmsal.pocket.training.dialogue import DIALOGUES, QWEN_TEMPLATE
from lvlmsal.pocket.training.pocket import (
    PATCH,
    Pocket,
    generation_config,
    special_ids,
    text_config,
    token_id,
)
from lvlmsal.pocket.training.tokenizer import build_tokenizer
from lvlmsal.pocket.training.worlds import SHAPES

_SIZE: Final = {"shortest_edge": 32 * 32, "longest_edge": 128 * 128}


class PocketQwen2VL(Pocket):
    """A tower that sees images in their own size, and a decoder with three-part positions."""

    name = "pocket-qwen2vl"
    world = SHAPES
    dialogue = DIALOGUES["pocket-qwen2vl"]
    merge = 2

    def __init__(self, tiny: bool = False) -> None:
        """See the base class."""
        marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
        self.tokenizer = tokenizer = build_tokenizer(
            ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>", *marks),
            pad="<|endoftext|>",
            bos="<|im_start|>",
            eos="<|im_end|>",
        )
        tokenizer.chat_template = QWEN_TEMPLATE
        small = {"hidden_size": 32, "intermediate_size": 64} if tiny else {}
        sections = [1, 1, 2] if tiny else [6, 7, 7]
        rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections}
        text = text_config(tokenizer, rope_parameters=rope, **small)
        vision = {
            "depth": 2 if tiny else 4,
            "embed_dim": 32 if tiny else 128,
            "hidden_size": text["hidden_size"],
            "num_heads": 4,
            "mlp_ratio": 2 if tiny else 4,
            "patch_size": PATCH,
            "spatial_merge_size": self.merge,
            "temporal_patch_size": 2,
        }
        names = ("vision_start", "vision_end", "image", "video")
        mark_ids: dict[str, Any] = {
            f"{key}_token_id": token_id(tokenizer, mark)
            for key, mark in zip(names, marks, strict=True)
        }
        config = Qwen2VLConfig(
            vision_config=vision,
            text_config=text,
            tie_word_embeddings=False,
            **mark_ids,
            **special_ids(tokenizer),
        )
        self.model = Qwen2VLForConditionalGeneration(config)
        self.model.generation_config = generation_config(tokenizer)
        self.image_processor = Qwen2VLImageProcessor(
            patch_size=PATCH, temporal_patch_size=2, merge_size=self.merge, size=dict(_SIZE)
        )

    def seen_size(self, width: int, height: int) -> tuple[int, int]:
        """Its own size: scenes have sides that the patches divide."""
        return width, height

    def positions(self, ids: list[int], types: list[int], grid: tuple[int, int]) -> Tensor:
        """See the base class."""
        core: Any = self.model.model
        positions, _ = core.get_rope_index(
            torch.tensor([ids]),
            mm_token_type_ids=torch.tensor([types], dtype=torch.int32),
            image_grid_thw=torch.tensor([[1, *grid]]),
        )
        found: Tensor = positions[:, 0]
        return found

    def image_embeddings(self, batch: dict[str, Tensor]) -> Tensor:
        """See the base class."""
        core: Any = self.model.model
        merged: Tensor = core.visual(
            batch["pixel_values"], grid_thw=batch["image_grid_thw"]
        ).pooler_output
        return merged

    def patch_filters(self) -> nn.Parameter:
        """See the base class."""
        core: Any = self.model.model
        weight: nn.Parameter = core.visual.patch_embed.proj.weight
        return weight

    def patches(self, pixels: Tensor) -> Tensor:
        """The image processor cuts them already."""
        return pixels

    def save_processor(self, folder: Path) -> None:
        """See the base class."""
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
                "merge_size": self.merge,
                "size": _SIZE,
            },
        }
        for name, content in pieces.items():
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
