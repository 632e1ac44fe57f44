"""What the pocket models have in common, trained or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    BaseImageProcessor,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from lvlmsal.pocket.training.dialogue import Dialogue
from lvlmsal.pocket.training.worlds import View, World

PATCH: Final = 8
"""Side of a vision patch in pixels, in all models."""

_LEAST_PIXELS: Final = 4
"""A patch is labeled with the object that covers most of it, from this many pixels on."""


class Pocket(ABC):
    """A pocket model with all that is needed to feed, to train and to save it.

    Args:
        tiny: A far smaller one of the same make, for tests.

    Attributes:
        name: Its name, that of its catalog card.
        world: What it is trained on.
        dialogue: How its turns are strung together.
        merge: Patches per side that one image token stands for.
        stored: In what the weights are stored; they are computed with in float32.
        model: The model, in float32.
        tokenizer: Its tokenizer, which holds the chat template.
        image_processor: Its image processor.
    """

    name: ClassVar[str]
    world: ClassVar[World]
    dialogue: ClassVar[Dialogue]
    merge: ClassVar[int] = 1
    stored: ClassVar[torch.dtype] = torch.float32
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    image_processor: BaseImageProcessor

    @abstractmethod
    def __init__(self, tiny: bool = False) -> None: ...

    @abstractmethod
    def seen_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) in pixels at which the vision part sees an image."""

    @abstractmethod
    def image_embeddings(self, batch: dict[str, Tensor]) -> Tensor:
        """Image embeddings of a batch as the decoder gets them, (tokens, hidden)."""

    @abstractmethod
    def patch_filters(self) -> nn.Parameter:
        """The weights of the patch embedding, one filter a row."""

    @abstractmethod
    def patches(self, pixels: Tensor) -> Tensor:
        """The values of each patch in the order of `patch_filters`, (patches, values)."""

    @abstractmethod
    def save_processor(self, folder: Path) -> None:
        """Write tokenizer and processor."""

    def save(self, folder: Path) -> None:
        """Write what ``from_pretrained`` reads: weights, configurations, tokenizer, processor.

        Args:
            folder: Made if missing; files of the same names are replaced.
        """
        state = self.model.state_dict()
        stored = {name: value.to(self.stored) for name, value in state.items()}
        self.model.save_pretrained(folder, state_dict=stored)
        # safetensors writes for the owner alone; an installed package serves every user
        (folder / "model.safetensors").chmod(0o644)
        self.save_processor(folder)

    @property
    def decoder(self) -> Any:
        """The text model, without the output projection."""
        model: Any = self.model  # transformers leaves its accessors without types
        return model.get_decoder()

    def positions(self, ids: list[int], types: list[int], grid: tuple[int, int]) -> Tensor:
        """Positions of the tokens up to the first question, (1, length) or (3, length).

        Args:
            ids: The tokens.
            types: 1 for image tokens, 0 for others.
            grid: Rows and columns of patches.
        """
        return torch.arange(len(ids))[None]

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of patches of an image."""
        seen = self.seen_size(width, height)
        return seen[1] // PATCH, seen[0] // PATCH

    def pixels(self, images: list[Image.Image]) -> dict[str, Tensor]:
        """What the vision part takes, made by the model's own image processor."""
        return dict(self.image_processor(images, return_tensors="pt"))

    def labels(self, view: View) -> npt.NDArray[np.int64]:
        """Class and color of each patch in the model's patch order, (patches, 2).

        The `merge` x `merge` patches of an image token stand next to each other.
        """
        grid = patch_labels(view, self.seen_size(*view.image.size))
        rows, columns, merge = grid.shape[0] // self.merge, grid.shape[1] // self.merge, self.merge
        blocks = grid.reshape(rows, merge, columns, merge, 2).transpose(0, 2, 1, 3, 4)
        return blocks.reshape(-1, 2)


def patch_labels(view: View, size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Which object covers each patch.

    Args:
        view: The drawn scene.
        size: (width, height) that the image is scaled to, pixels.

    Returns:
        ``(rows, columns, 2)`` array of class and color indices from 1, or 0 for background.
    """
    owner = view.owner
    if size != view.image.size:
        owner = np.asarray(Image.fromarray(owner).resize(size, Image.Resampling.NEAREST))
    rows, columns = owner.shape[0] // PATCH, owner.shape[1] // PATCH
    blocks = owner.reshape(rows, PATCH, columns, PATCH)
    cover = np.stack([(blocks == k).sum(axis=(1, 3)) for k in range(1, len(view.labels))])
    winner = np.where(cover.max(axis=0) >= _LEAST_PIXELS, cover.argmax(axis=0) + 1, 0)
    labels: npt.NDArray[np.int64] = view.labels[winner]
    return labels


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The id of one token."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def special_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The ids that begin, end and pad, as configurations take them."""
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def generation_config(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """Greedy, up to 96 tokens."""
    make: Any = GenerationConfig  # its __init__ is untyped
    config: GenerationConfig = make(max_new_tokens=96, do_sample=False, **special_ids(tokenizer))
    return config


def text_config(tokenizer: PreTrainedTokenizerFast, **sizes: Any) -> dict[str, Any]:
    """What the text configurations of all models share; `sizes` adds or replaces."""
    return {
        **special_ids(tokenizer),
        "vocab_size": len(tokenizer),
        "hidden_size": 160,
        "intermediate_size": 448,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        **sizes,
    }


def sine_positions(side: int, width: int, amplitude: float = 0.4) -> Tensor:
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


def conv_patches(pixels: Tensor) -> Tensor:
    """Patches of (B, C, H, W) images in the order of a convolution's weights."""
    blocks = nn.functional.unfold(pixels, PATCH, stride=PATCH)
    return blocks.transpose(1, 2).flatten(0, 1)
