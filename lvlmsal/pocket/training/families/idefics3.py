"""pocket-idefics3, an Idefics3 (the make of SmolVLM) of the sticker world."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
)

from lvlmsal.pocket.training.dialogue import DIALOGUES, IDEFICS_TEMPLATE
from lvlmsal.pocket.training.pocket import (
    PATCH,
    Pocket,
    conv_patches,
    generation_config,
    sine_positions,
    special_ids,
    text_config,
    token_id,
)
from lvlmsal.pocket.training.tokenizer import build_bpe_tokenizer
from lvlmsal.pocket.training.worlds import STICKERS

_SIDE: Final = 96


class PocketIdefics3(Pocket):
    """A SigLIP-like tower that sees a square of 96 pixels, and a Llama decoder of eight layers."""

    name = "pocket-idefics3"
    world = STICKERS
    dialogue = DIALOGUES["pocket-idefics3"]
    merge = 2
    stored = torch.bfloat16

    def __init__(self, tiny: bool = False) -> None:
        """See the base class."""
        self.tokenizer = tokenizer = build_bpe_tokenizer(
            (
                *("<|endoftext|>", "<|im_start|>", "<end_of_utterance>"),
                *("<fake_token_around_image>", "<global-img>", "<image>"),
            ),
            pad="<|endoftext|>",
            bos="<|im_start|>",
            eos="<end_of_utterance>",
        )
        tokenizer.chat_template = IDEFICS_TEMPLATE
        sizes = {
            "hidden_size": 32 if tiny else 192,
            "intermediate_size": 64 if tiny else 576,
            "num_hidden_layers": 2 if tiny else 8,
            "num_attention_heads": 4,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
            "tie_word_embeddings": False,
        }
        config = Idefics3Config(
            vision_config={
                "hidden_size": 32 if tiny else 192,
                "intermediate_size": 64 if tiny else 768,
                "num_hidden_layers": 2 if tiny else 4,
                "num_attention_heads": 4 if tiny else 3,
                "image_size": _SIDE,
                "patch_size": PATCH,
            },
            text_config={"model_type": "llama", **text_config(tokenizer, **sizes)},
            scale_factor=self.merge,
            image_token_id=token_id(tokenizer, "<image>"),
            tie_word_embeddings=False,
            **special_ids(tokenizer),
        )
        self.model = Idefics3ForConditionalGeneration(config)
        # on the CPU its backward pass takes a third of the time of the fused attention's
        self.model.set_attn_implementation({"vision_config": "eager"})
        positions: Any = self.model.model.vision_model.embeddings.position_embedding.weight
        positions.data.copy_(sine_positions(_SIDE // PATCH, positions.shape[1]))
        self.model.generation_config = generation_config(tokenizer)
        self.image_processor = Idefics3ImageProcessor(
            size={"longest_edge": _SIDE},
            max_image_size={"longest_edge": _SIDE},
            do_image_splitting=False,
        )

    def seen_size(self, width: int, height: int) -> tuple[int, int]:
        """Always the same square."""
        return _SIDE, _SIDE

    def image_embeddings(self, batch: dict[str, Tensor]) -> Tensor:
        """See the base class."""
        core: Any = self.model.model
        found = core.get_image_features(batch["pixel_values"], batch["pixel_attention_mask"])
        return torch.cat(list(found.pooler_output))

    def patch_filters(self) -> nn.Parameter:
        """See the base class."""
        core: Any = self.model.model
        weight: nn.Parameter = core.vision_model.embeddings.patch_embedding.weight
        return weight

    def patches(self, pixels: Tensor) -> Tensor:
        """See the base class."""
        return conv_patches(pixels.flatten(0, 1))

    def pixels(self, images: list[Any]) -> dict[str, Tensor]:
        """See the base class; every sample has one image."""
        process: Any = self.image_processor  # its types know no images of samples
        return dict(process([[image] for image in images], return_tensors="pt"))

    def save_processor(self, folder: Path) -> None:
        """See the base class."""
        make: Any = Idefics3Processor  # its __init__ is untyped
        make(
            image_processor=self.image_processor,
            tokenizer=self.tokenizer,
            image_seq_len=(_SIDE // PATCH // self.merge) ** 2,
            chat_template=self.tokenizer.chat_template,
        ).save_pretrained(folder)
