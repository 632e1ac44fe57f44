"""Adapters: where each family of vision-language models keeps its parts, and how it is fed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.adapters.base import ModelAdapter
    from lvlmsal.adapters.images import open_image, seen_part
    from lvlmsal.adapters.loading import Loaded, load_checkpoint
    from lvlmsal.adapters.lookup import adapter_for

__all__ = ["Loaded", "ModelAdapter", "adapter_for", "load_checkpoint", "open_image", "seen_part"]

# A config is checked with `lvlmsal.adapters.backends`, which needs none of these.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Loaded": ".loading",
        "ModelAdapter": ".base",
        "adapter_for": ".lookup",
        "load_checkpoint": ".loading",
        "open_image": ".images",
        "seen_part": ".images",
    },
)
