"""Image encoders whose layers can be looked at, and where their features enter the projector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lvlmsal.errors import UnsupportedError

_WITH_CLASS_TOKEN = {"clip_vision_model": True, "siglip_vision_model": False}
"""Kinds of encoders that are known, and whether their first token stands for all of the image."""


@dataclass(frozen=True)
class TowerFeatures:
    """What an image encoder is about to hand to the projector, of n pictures (images or tiles).

    Attributes:
        features: of the patches, shape (n, P, D).
        queries: of the attention of the encoder's last layer but one, shape (n, T, H, d), where T
            is P, or P + 1 with a class token in front.
        keys: likewise.
        has_class_token: whether there is one.
    """

    features: Tensor
    queries: Tensor
    keys: Tensor
    has_class_token: bool

    def attention(self) -> Tensor:
        """Weights of that layer, float32, shape (n, H, T, T)."""
        scores = torch.einsum("nqhd,nkhd->nhqk", self.queries.float(), self.keys.float())
        weights: Tensor = (scores * self.queries.shape[-1] ** -0.5).softmax(-1)
        return weights


Change = Callable[[TowerFeatures], Tensor]
"""From what enters the projector to what shall enter it, shape (n, number of tokens, D)."""


@dataclass(frozen=True)
class Tower:
    """An image encoder of the kind of CLIP or SigLIP with a projector behind it.

    Attributes:
        encoder: the encoder.
        projector: takes features of patches to states of the text decoder.
        has_class_token: whether the encoder's first token stands for all of the image.
    """

    encoder: nn.Module
    projector: nn.Module
    has_class_token: bool

    @classmethod
    def of(cls, model: PreTrainedModel) -> Tower:
        """The tower of a model in the form of LLaVA.

        Raises:
            UnsupportedError: it is of another kind.
        """
        kind = model.config.vision_config.model_type
        if kind not in _WITH_CLASS_TOKEN:
            raise UnsupportedError(
                f"the image encoder of this {type(model).__name__} is a {kind!r}, and attention "
                f"inside of one is known of {' and '.join(map(repr, _WITH_CLASS_TOKEN))} only"
            )
        core: Any = model.base_model
        return cls(core.vision_tower, core.multi_modal_projector, _WITH_CLASS_TOKEN[kind])

    @contextmanager
    def changed(self, change: Change) -> Iterator[None]:
        """Let images that are encoded in this block enter the projector as others."""
        tower: Any = self.encoder
        attention = getattr(tower, "vision_model", tower).encoder.layers[-2].self_attn
        seen: dict[str, Tensor] = {}
        thread = get_ident()  # others may use the same model

        def keep(name: str) -> Callable[..., None]:
            def kept(_: nn.Module, args: object, output: Tensor) -> None:
                if get_ident() == thread:
                    seen[name] = output.view(*output.shape[:-1], attention.num_heads, -1)

            return kept

        def enter(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if get_ident() != thread:
                return None
            given: Tensor = args[0]
            queries, keys = seen["queries"], seen["keys"]
            if given.shape[1] != queries.shape[1] - self.has_class_token:
                raise UnsupportedError(
                    f"the projector is given {given.shape[1]} features of an image and the encoder "
                    f"has {queries.shape[1] - self.has_class_token} patches: another "
                    "vision_feature_select_strategy than this encoder's own cannot be followed"
                )
            found = change(TowerFeatures(given, queries, keys, self.has_class_token))
            return (found.to(given), *args[1:])

        handles = [
            attention.q_proj.register_forward_hook(keep("queries")),
            attention.k_proj.register_forward_hook(keep("keys")),
            self.projector.register_forward_pre_hook(enter),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
