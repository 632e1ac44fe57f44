"""DeepSeek-VL and Janus: as many visual tokens for each image as its square tower has patches."""

from __future__ import annotations

from lvlmsal.adapters.llava import SquareImagesAdapter
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("DeepseekVLForConditionalGeneration")
class DeepseekVLAdapter(SquareImagesAdapter):
    """DeepSeek-VL 1.3B, which has one tower; the 7B one has two (`DeepseekVLHybrid...`)."""

    architectures = ("DeepseekVLForConditionalGeneration",)
    family = "DeepSeek-VL"
    summary = "DeepSeek-VL with one tower (1.3B): one square image size"
    paper = "DeepSeek-VL: Towards Real-World Vision-Language Understanding"
    url = "https://arxiv.org/abs/2403.05525"


@ADAPTERS.register("JanusForConditionalGeneration")
class JanusAdapter(SquareImagesAdapter):
    """Janus and Janus-Pro as far as they answer; the images that they draw are left alone."""

    architectures = ("JanusForConditionalGeneration",)
    family = "Janus"
    summary = "Janus and Janus-Pro, answers only: one square image size"
    paper = "Janus-Pro: Unified Multimodal Understanding and Generation"
    url = "https://arxiv.org/abs/2501.17811"
    wraps_images = True
