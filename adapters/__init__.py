"""Adapters: where each family of vision-language models keeps its parts, and how it is fed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.adapters.base import ModelAdapter
    from lvlmsal.adapters.idefics3 import Idefics3Adapter, SmolVLMAdapter
    from lvlmsal.adapters.images import open_image, seen_part
    from lvlmsal.adapters.internvl import InternVLAdapter
    from lvlmsal.adapters.llava import LlavaAdapter
    from lvlmsal.adapters.loading import Loaded, load_checkpoint
    from lvlmsal.adapters.lookup import adapter_for
    from lvlmsal.adapters.qwen_vl import Qwen2VLAdapter, Qwen25VLAdapter

__all__ = [
    "Idefics3Adapter",
    "InternVLAdapter",
    "LlavaAdapter",
    "Loaded",
    "ModelAdapter",
    "Qwen2VLAdapter",
    "Qwen25VLAdapter",
    "SmolVLMAdapter",
    "adapter_for",
    "load_checkpoint",
    "open_image",
    "seen_part",
]

# Where each name is defined; a test compares it with the imports above and the registries. A config
# is checked with `lvlmsal.adapters.backends`, which needs none of these.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Idefics3Adapter": ".idefics3",
        "InternVLAdapter": ".internvl",
        "LlavaAdapter": ".llava",
        "Loaded": ".loading",
        "ModelAdapter": ".base",
        "Qwen25VLAdapter": ".qwen_vl",
        "Qwen2VLAdapter": ".qwen_vl",
        "SmolVLMAdapter": ".idefics3",
        "adapter_for": ".lookup",
        "load_checkpoint": ".loading",
        "open_image": ".images",
        "seen_part": ".images",
    },
)
