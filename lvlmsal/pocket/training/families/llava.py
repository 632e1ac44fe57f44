"""pocket-llava, a LLaVA-1.5 of the shape world."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn
from transformers import (
    CLIPImageProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from lvlmsal.pocket.training.dialogue import DIALOGUES, LLAVA_TEMPLATE
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
from lvlmsal.pocket.training.tokenizer import build_tokenizer
from lvlmsal.pocket.training.worlds import SHAPES

_SIDE: Final = 64


class PocketLlava(Pocket):
    """A CLIP tower that sees a square of 64 pixels, and a Llama decoder."""

    name = "pocket-llava"
    world = SHAPES
    dialogue = DIALOGUES["pocket-llava"]

    def __init__(self, tiny: bool = False) -> None:
        """See the base class."""
        self.tokenizer = tokenizer = build_tokenizer(
            ("<pad>", "<s>", "</s>", "<unk>", "<image>"), pad="<pad>", bos="<s>", eos="</s>"
        )
        tokenizer.chat_template = LLAVA_TEMPLATE
        small = {"hidden_size": 32, "intermediate_size": 64} if tiny else {}
        rope = {"rope_type": "default", "rope_theta": 1e4}
        vision = {
            "model_type": "clip_vision_model",
            "hidden_size": 32 if tiny else 128,
            "intermediate_size": 64 if tiny else 512,
            "num_hidden_layers": 2 if tiny else 4,
            "num_attention_heads": 4,
            "image_size": _SIDE,
            "patch_size": PATCH,
            "projection_dim": 128,
        }
        config = LlavaConfig(
            vision_config=vision,
            text_config={
                "model_type": "llama",
                **text_config(tokenizer, rope_parameters=rope, **small),
            },
            image_token_index=token_id(tokenizer, "<image>"),
            image_seq_length=(_SIDE // PATCH) ** 2,
            vision_feature_select_strategy="default",
            vision_feature_layer=-1,
            tie_word_embeddings=False,
            **special_ids(tokenizer),
        )
        self.model = LlavaForConditionalGeneration(config)
        positions: Any = self.model.model.vision_tower.embeddings.position_embedding.weight
        positions.data[1:] = sine_positions(_SIDE // PATCH, positions.shape[1])
        self.model.generation_config = generation_config(tokenizer)
        # the whole image is scaled to the square: a crop would cut objects off
        square = {"height": _SIDE, "width": _SIDE}
        self.image_processor = CLIPImageProcessor(
            size=square, do_center_crop=False, crop_size=square
        )

    def seen_size(self, width: int, height: int) -> tuple[int, int]:
        """Always the same square."""
        return _SIDE, _SIDE

    def image_embeddings(self, batch: dict[str, Tensor]) -> Tensor:
        """See the base class."""
        core: Any = self.model.model
        hidden = core.vision_tower(batch["pixel_values"]).last_hidden_state[:, 1:]
        embedded: Tensor = core.multi_modal_projector(hidden).flatten(0, 1)
        return embedded

    def patch_filters(self) -> nn.Parameter:
        """See the base class."""
        core: Any = self.model.model
        weight: nn.Parameter = core.vision_tower.embeddings.patch_embedding.weight
        return weight

    def patches(self, pixels: Tensor) -> Tensor:
        """See the base class."""
        return conv_patches(pixels)

    def save_processor(self, folder: Path) -> None:
        """See the base class."""
        make: Any = LlavaProcessor  # its __init__ is untyped
        make(
            image_processor=self.image_processor,
            tokenizer=self.tokenizer,
            patch_size=PATCH,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=self.tokenizer.chat_template,
        ).save_pretrained(folder)
