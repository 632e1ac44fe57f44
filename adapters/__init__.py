"""Adapters: where each family of vision-language models keeps its parts, and how it is fed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.adapters.base import ModelAdapter
    from lvlmsal.adapters.cca_llava import CcaLlavaAdapter
    from lvlmsal.adapters.chameleon import ChameleonAdapter
    from lvlmsal.adapters.cohere import AyaVisionAdapter, Cohere2VisionAdapter
    from lvlmsal.adapters.deepseek_vl import DeepseekVLAdapter, JanusAdapter
    from lvlmsal.adapters.gemma3 import Gemma3Adapter
    from lvlmsal.adapters.glm import Glm4vAdapter, Glm46VAdapter
    from lvlmsal.adapters.idefics2 import Idefics2Adapter
    from lvlmsal.adapters.idefics3 import Idefics3Adapter, SmolVLMAdapter
    from lvlmsal.adapters.images import open_image, seen_part
    from lvlmsal.adapters.internvl import InternVLAdapter
    from lvlmsal.adapters.llava import (
        FastVlmAdapter,
        LlavaAdapter,
        VideoLlavaAdapter,
        VipLlavaAdapter,
    )
    from lvlmsal.adapters.llava_next import (
        LlavaNextAdapter,
        LlavaNextVideoAdapter,
        LlavaOnevisionAdapter,
    )
    from lvlmsal.adapters.loading import Loaded, load_checkpoint
    from lvlmsal.adapters.lookup import adapter_for
    from lvlmsal.adapters.molmo2 import Molmo2Adapter
    from lvlmsal.adapters.ovis2 import Ovis2Adapter
    from lvlmsal.adapters.paligemma import PaliGemma2Adapter, PaliGemmaAdapter
    from lvlmsal.adapters.perception_lm import PerceptionLMAdapter
    from lvlmsal.adapters.pixtral import Mistral3Adapter, PixtralAdapter
    from lvlmsal.adapters.qwen_vl import (
        Qwen2VLAdapter,
        Qwen3VLAdapter,
        Qwen25OmniAdapter,
        Qwen25VLAdapter,
    )
    from lvlmsal.adapters.video_llama_3 import VideoLlama3Adapter

__all__ = [
    "AyaVisionAdapter",
    "CcaLlavaAdapter",
    "ChameleonAdapter",
    "Cohere2VisionAdapter",
    "DeepseekVLAdapter",
    "FastVlmAdapter",
    "Gemma3Adapter",
    "Glm4vAdapter",
    "Glm46VAdapter",
    "Idefics2Adapter",
    "Idefics3Adapter",
    "InternVLAdapter",
    "JanusAdapter",
    "LlavaAdapter",
    "LlavaNextAdapter",
    "LlavaNextVideoAdapter",
    "LlavaOnevisionAdapter",
    "Loaded",
    "Mistral3Adapter",
    "ModelAdapter",
    "Molmo2Adapter",
    "Ovis2Adapter",
    "PaliGemma2Adapter",
    "PaliGemmaAdapter",
    "PerceptionLMAdapter",
    "PixtralAdapter",
    "Qwen2VLAdapter",
    "Qwen3VLAdapter",
    "Qwen25OmniAdapter",
    "Qwen25VLAdapter",
    "SmolVLMAdapter",
    "VideoLlama3Adapter",
    "VideoLlavaAdapter",
    "VipLlavaAdapter",
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
        "AyaVisionAdapter": ".cohere",
        "CcaLlavaAdapter": ".cca_llava",
        "ChameleonAdapter": ".chameleon",
        "Cohere2VisionAdapter": ".cohere",
        "DeepseekVLAdapter": ".deepseek_vl",
        "FastVlmAdapter": ".llava",
        "Gemma3Adapter": ".gemma3",
        "Glm46VAdapter": ".glm",
        "Glm4vAdapter": ".glm",
        "Idefics2Adapter": ".idefics2",
        "Idefics3Adapter": ".idefics3",
        "InternVLAdapter": ".internvl",
        "JanusAdapter": ".deepseek_vl",
        "LlavaAdapter": ".llava",
        "LlavaNextAdapter": ".llava_next",
        "LlavaNextVideoAdapter": ".llava_next",
        "LlavaOnevisionAdapter": ".llava_next",
        "Loaded": ".loading",
        "Mistral3Adapter": ".pixtral",
        "ModelAdapter": ".base",
        "Molmo2Adapter": ".molmo2",
        "Ovis2Adapter": ".ovis2",
        "PaliGemma2Adapter": ".paligemma",
        "PaliGemmaAdapter": ".paligemma",
        "PerceptionLMAdapter": ".perception_lm",
        "PixtralAdapter": ".pixtral",
        "Qwen25OmniAdapter": ".qwen_vl",
        "Qwen25VLAdapter": ".qwen_vl",
        "Qwen2VLAdapter": ".qwen_vl",
        "Qwen3VLAdapter": ".qwen_vl",
        "SmolVLMAdapter": ".idefics3",
        "VideoLlama3Adapter": ".video_llama_3",
        "VideoLlavaAdapter": ".llava",
        "VipLlavaAdapter": ".llava",
        "adapter_for": ".lookup",
        "load_checkpoint": ".loading",
        "open_image": ".images",
        "seen_part": ".images",
    },
)
