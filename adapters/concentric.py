"""CCA-LLaVA's model: LLaVA-1.5 with other positions and another mask for its visual tokens.

Importing this module tells transformers of it, whose `AutoConfig` and auto class of models then
read its folders. A transformers without this library refuses them by their `model_type`, where it
would read those of LLaVA and answer wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    LlavaConfig,
    LlavaForConditionalGeneration,
)
from transformers.masking_utils import create_causal_mask

from lvlmsal.errors import UnsupportedError
from lvlmsal.versions import CACHE, given_cache

_TEXT_DIMS = 2
"""Of a mask that says which tokens are padding, and no more."""


class CcaLlavaConfig(LlavaConfig):  # type: ignore[no-untyped-call]  # of transformers
    """That of LLaVA-1.5 under a name of its own."""

    model_type = "cca_llava"


def rings(side: int) -> Tensor:
    """How far each patch of a square grid is from the nearest border, row by row.

    Args:
        side: Patches of a row.

    Returns:
        Shape (side * side,): 0 at the border, ceil(side / 2) - 1 in the middle.

    >>> rings(4).view(4, 4).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    place = torch.arange(side)
    near = torch.minimum(place, side - 1 - place)
    return torch.minimum(near[:, None], near).flatten()


class Rings(NamedTuple):
    """What is known of each token of a batch, each of shape (B, L).

    Attributes:
        image: Column of the first visual token of its image; -1 for text.
        ring: Of a visual token; 0 for text.
        shift: How far its position lies before the one that it would have as text.
    """

    image: Tensor
    ring: Tensor
    shift: Tensor


def find_rings(visual: Tensor, side: int) -> Rings:
    """Find the images of a batch and the rings of their visual tokens.

    Args:
        visual: Which tokens are placeholders of images, shape (B, L). As many in a row as some
            images have are these images; any other number is text, as a model may write one.
        side: Patches of a row of an image.
    """
    patches, depth = side * side, (side + 1) // 2
    columns = torch.arange(visual.shape[1], device=visual.device).expand_as(visual)
    begins = visual & ~torch.nn.functional.pad(visual, (1, 0))[:, :-1]
    first = torch.where(begins, columns, 0).cummax(dim=1).values
    run = begins.cumsum(dim=1)
    lengths = torch.zeros_like(columns, dtype=torch.long)
    lengths = lengths.new_zeros(len(visual), visual.shape[1] + 1).scatter_add(1, run, visual.long())
    whole = visual & (lengths.gather(1, run) % patches == 0)
    place = (columns - first) % patches
    ring = torch.where(whole, rings(side).to(visual.device)[place], 0)
    begun = (whole & (place == 0)).cumsum(dim=1)
    # a token behind an image is as far on as the image has rings, not patches
    passed = (begun - whole.long()) * (patches - depth)
    image = torch.where(whole, columns - place, -1)
    return Rings(image, ring, passed + torch.where(whole, place - ring, 0))


def concentric(mask: Tensor, found: Rings, past: int) -> Tensor:
    """A causal mask in which visual tokens see their own ring of their image and outer ones.

    Args:
        mask: What rows see, shape (B, 1, L, columns): boolean, or what is added to scores.
        found: Of the L rows.
        past: Columns before them.
    """
    image, ring, columns = found.image, found.ring, slice(past, past + found.image.shape[1])
    one_image = (image[:, None, :, None] == image[:, None, None, :]) & (image >= 0)[
        :, None, :, None
    ]
    outer = ring[:, None, None, :] <= ring[:, None, :, None]
    if mask.dtype != torch.bool:
        hidden = mask.new_tensor(torch.finfo(mask.dtype).min)
        outer = torch.where(outer, torch.zeros_like(hidden), hidden)
    changed = mask.expand(len(image), -1, -1, -1).clone()
    changed[..., columns] = torch.where(one_image, outer, changed[..., columns])
    return changed


def _positions(found: Rings, mask: Tensor | None, cache: Any) -> Tensor:
    """Positions of a pass that was given none, (B, L)."""
    if cache is not None and cache.get_seq_length():
        raise UnsupportedError(
            "tokens that go on from a cache need position_ids here, since where they stand depends "
            "on the images before them: hand them over, or take `generate`"
        )
    if mask is None or mask.dim() != _TEXT_DIMS:
        plain = torch.arange(found.shift.shape[1], device=found.shift.device)[None]
    else:
        plain = (mask.long().cumsum(dim=-1) - 1).clamp(min=0)
    return plain - found.shift


def _with_the_arguments_of_llava(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method be seen with the arguments of LLaVA's pass, by which `generate` goes."""
    return wraps(LlavaForConditionalGeneration.forward)(method)


class CcaLlavaForConditionalGeneration(  # type: ignore[no-untyped-call]  # of transformers
    LlavaForConditionalGeneration
):
    """LLaVA-1.5 with concentric causal attention.

    An image of g x g patches takes ceil(g / 2) positions, one a ring: that of its border first,
    that of its middle last. Text behind it goes on from there. A visual token sees what stands
    before its image, and of its image its own ring and those outside of it, wherever they stand in
    the sequence. Everything else is causal as ever.

    The public code takes one image a prompt, of an even number of patches a side. Here each image
    of a prompt has rings of its own, later ones see all of earlier ones, and an odd number has one
    patch in the middle.
    """

    config_class = CcaLlavaConfig
    _supports_flash_attn = False
    _supports_flex_attn = False

    def __init__(self, config: CcaLlavaConfig) -> None:
        vision: Any = config.vision_config
        text: Any = config.text_config
        if config.vision_feature_select_strategy != "default":
            raise UnsupportedError(
                "CCA-LLaVA gives each patch of an image a ring, and the class token has none: "
                f"vision_feature_select_strategy is {config.vision_feature_select_strategy!r}, "
                "expected 'default'"
            )
        if text.model_type != "llama":
            raise UnsupportedError(
                "CCA-LLaVA's language model is a Llama, whose layers all have one mask, got "
                f"{text.model_type!r}"
            )
        super().__init__(config)
        self.side = int(vision.image_size // vision.patch_size)

    def _rings(self, ids: Tensor) -> Rings:
        return find_rings(ids == self.config.image_token_id, self.side)

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: Tensor, model_kwargs: dict[str, Any]
    ) -> Tensor:
        """Positions of a whole prompt, (B, L), which `generate` counts on from.

        Raises:
            UnsupportedError: It came as embeddings.
        """
        base: Any = super()  # without types
        plain: Tensor = base._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
        ids = model_kwargs.get("input_ids")
        ids = inputs_tensor if ids is None or not ids.shape[1] else ids
        if ids.is_floating_point():
            raise UnsupportedError(
                "CCA-LLaVA finds its images in input_ids: hand these (and pixel_values) over, "
                "without inputs_embeds"
            )
        return plain - self._rings(ids).shift.to(plain)

    @_with_the_arguments_of_llava
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the base class, with positions and mask of concentric attention.

        Raises:
            UnsupportedError: The images cannot be found, tokens that go on from a cache have no
                positions, or the attention takes no mask.
        """
        given = dict(signature(self.forward).bind(*args, **kwargs).arguments)
        given |= given.pop("kwargs", {})
        ids, cache = given.get("input_ids"), given_cache(given)
        if ids is None:
            raise UnsupportedError("CCA-LLaVA finds its images in input_ids, and there are none")
        mask, placed = given.get("attention_mask"), given.get("position_ids") is not None
        if placed and ids.shape[1] < self.side * self.side:  # a decode step, say: no image in it
            return super().forward(**given)
        found = self._rings(ids)
        if not placed:
            given["position_ids"] = _positions(found, mask, cache)
        if bool((found.image >= 0).any()):
            given["attention_mask"] = self._mask(found, mask, cache)
        return super().forward(**given)

    def _mask(self, found: Rings, mask: Any, cache: Any) -> Tensor:
        """Who sees whom in a pass with images, as the attention takes it: (B, 1, L, columns)."""
        text: Any = self.config.text_config
        if not isinstance(mask, Tensor) or mask.dim() == _TEXT_DIMS:
            # of its shape, dtype and device alone; weights may lie elsewhere until they are used
            weight: Any = self.get_input_embeddings().weight
            states = torch.empty(
                *found.image.shape, 0, dtype=weight.dtype, device=found.image.device
            )
            made: Any = create_causal_mask(
                config=text,
                inputs_embeds=states,
                attention_mask=mask,
                # without a function of its own it may leave a causal mask to the attention
                and_mask_function=lambda sample, head, row, column: column >= 0,
                **{CACHE: cache},
            )
            mask = made
        if not isinstance(mask, Tensor):
            raise UnsupportedError(
                "CCA-LLaVA needs an attention that takes a mask, 'sdpa' or 'eager', got "
                f"{text._attn_implementation!r}"
            )
        return concentric(mask, found, 0 if cache is None else int(cache.get_seq_length()))


AutoConfig.register(CcaLlavaConfig.model_type, CcaLlavaConfig)
AutoModelForImageTextToText.register(CcaLlavaConfig, CcaLlavaForConditionalGeneration)
