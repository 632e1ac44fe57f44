"""Randomly initialized models of given shapes, and prompts for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration, PreTrainedModel

import lvlmsal
from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.processors import without_advice
from lvlmsal.attention import resolve_layers
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.tiny.models import VOCABULARY
from lvlmsal.tiny.processors import TEMPLATES, tiny_tokenizer
from lvlmsal.tiny.samples import IMAGE

SYSTEM = 5
"""Text tokens before the image."""

PATCH = 14
"""Side of a patch in pixels."""


@dataclass(frozen=True)
class Shape:
    """A LLaVA-shaped model: a Llama behind a small vision tower.

    Attributes:
        width: hidden size of the text decoder; heads are 64 wide.
        layers: depth of the text decoder.
        patches: an image becomes patches * patches visual tokens.
        vocabulary: number of token ids, the image's among them.
        placeholder: id of the image placeholder; the last one by default.
    """

    width: int
    layers: int
    patches: int = 24
    vocabulary: int = 32000
    placeholder: int | None = None

    @property
    def image_token(self) -> int:
        """Id of the image placeholder."""
        return self.vocabulary - 1 if self.placeholder is None else self.placeholder

    @property
    def side(self) -> int:
        """Side of an image in pixels."""
        return PATCH * self.patches


SHAPES = {"50M": Shape(448, 8), "200M": Shape(1024, 12), "700M": Shape(1536, 20)}
"""Named by the parameters of the text decoder and its head, about."""

SMALL = Shape(64, 4, patches=4, vocabulary=256)
"""For a quick look, and for the tests."""


SHARPNESS = 6.0
"""Standard deviation of the attention scores, about."""


def build(shape: Shape) -> LlavaForConditionalGeneration:
    """A model with random weights, in float32, that never ends an answer by itself."""
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": shape.side,
            "patch_size": PATCH,
            "projection_dim": 128,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.width,
            "intermediate_size": shape.width * 11 // 4,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.width // 64 or 1,
            "num_key_value_heads": shape.width // 64 or 1,
            "max_position_embeddings": 8192,
        },
        image_token_index=shape.image_token,
        image_seq_length=shape.patches**2,
    )
    model = LlavaForConditionalGeneration(config).eval()
    model.generation_config.eos_token_id = None
    return sharpened(model.requires_grad_(False))


def prompt(shape: Shape, length: int, batch: int = 1) -> dict[str, Any]:
    """A prompt of some text, one image and the question, ``length`` tokens together.

    The samples of a batch are alike.
    """
    generator = torch.Generator().manual_seed(1)
    image = shape.patches**2
    if length < SYSTEM + image + 1:
        raise ValueError(f"{length} tokens do not hold an image of {image}")
    ids = torch.randint(3, shape.vocabulary - 1, (1, length), generator=generator)
    ids[:, SYSTEM : SYSTEM + image] = shape.image_token
    pixels = torch.randn(1, 3, shape.side, shape.side, generator=generator)
    return {
        "input_ids": ids.repeat(batch, 1),
        "attention_mask": torch.ones(batch, length, dtype=torch.long),
        "pixel_values": pixels.repeat(batch, 1, 1, 1),
    }


def with_processor(shape: Shape) -> Lvlm:
    """A model of a shape, and a processor that fits it: for methods that encode texts or images.

    The processor's tokenizer has an id for each byte, so that text takes more tokens than usual;
    the other ids of the vocabulary stand for nothing.
    """
    shape = replace(shape, vocabulary=max(shape.vocabulary, VOCABULARY), placeholder=IMAGE)
    with without_advice():
        from transformers import CLIPImageProcessor, LlavaProcessor

        make: Any = LlavaProcessor  # transformers leaves it without types
        processor = make(
            CLIPImageProcessor(
                size={"shortest_edge": shape.side},
                crop_size={"height": shape.side, "width": shape.side},
            ),
            tiny_tokenizer("llava"),
            patch_size=PATCH,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=TEMPLATES["llava"],
        )
    return lvlmsal.load((build(shape), processor))


def question(lvlm: Lvlm, shape: Shape) -> dict[str, Any]:
    """A noisy image and a question about it, as `generate` takes them."""
    pixels = torch.randint(
        0, 256, (shape.side, shape.side, 3), generator=torch.Generator().manual_seed(1)
    )
    image = Image.fromarray(pixels.to(torch.uint8).numpy())
    return dict(lvlm.adapter.encode([[image]], ["Please describe this image in detail."]))


def sharpened(model: PreTrainedModel) -> PreTrainedModel:
    """The model with attention that tells keys apart, as a trained one's does.

    Fresh weights attend to everything alike, all tokens have the same saliency, and SGRS rejects
    none at any alpha. Queries and keys are scaled up until the scores spread as widely as
    :data:`SHARPNESS`; SGRS then rejects about as often as on the trained pocket models.
    """
    adapter = adapter_for(model)
    # A score is 64 products (or as many as a head is wide) of two sums of `width` terms, divided by
    # the root of that number.
    config = adapter.text_config
    spread = config.hidden_size * config.initializer_range**2
    for module in adapter.attention_modules:
        for projection in (module.q_proj, module.k_proj):
            projection.weight.mul_((SHARPNESS / spread) ** 0.5)
    return model


def answer(shape: Shape, length: int) -> Tensor:
    """Ids of a random answer, shape (1, length)."""
    generator = torch.Generator().manual_seed(2)
    return torch.randint(3, shape.vocabulary - 1, (1, length), generator=generator)


def decoder_parameters(model: PreTrainedModel) -> int:
    """Parameters of the text decoder with its embedding, and of its head."""
    adapter = adapter_for(model)
    both = [*adapter.decoder.parameters(), *adapter.lm_head.parameters()]
    return sum({id(p): p.numel() for p in both}.values())


def share_above(model: PreTrainedModel, layers: Any) -> float:
    """f: the share of a step's weights that lie above the lowest target layer."""
    adapter = adapter_for(model)
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in adapter.layers]
    head = sum(p.numel() for p in adapter.lm_head.parameters())
    lowest = resolve_layers(layers, adapter.num_layers)[0]
    return (sum(sizes[lowest:]) + head) / (sum(sizes) + head)
