"""GLM-4.1V and GLM-4.6V, which take images as Qwen2-VL does."""

from __future__ import annotations

from lvlmsal.adapters.processors import ImageOnlyGlm4vProcessor, ImageOnlyGlm46VProcessor
from lvlmsal.adapters.qwen_vl import Qwen2VLAdapter
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Glm4vForConditionalGeneration")
class Glm4vAdapter(Qwen2VLAdapter):
    """GLM-4.1V: dynamic resolution, and rotary positions in time, height and width."""

    architectures = ("Glm4vForConditionalGeneration",)
    family = "GLM-4.1V"
    summary = "GLM-4.1V: dynamic resolution, multimodal rotary positions"
    paper = "GLM-4.5V and GLM-4.1V-Thinking: Towards Versatile Multimodal Reasoning"
    url = "https://arxiv.org/abs/2507.01006"
    image_only_processor = ImageOnlyGlm4vProcessor
    takes_videos = False
    # its model has a method of its own for beams, which repeats each image by itself: A A B B
    mixes_beams = True


@ADAPTERS.register("Glm46VForConditionalGeneration")
class Glm46VAdapter(Glm4vAdapter):
    """GLM-4.6V: as GLM-4.1V."""

    architectures = ("Glm46VForConditionalGeneration",)
    family = "GLM-4.6V"
    summary = "GLM-4.6V: as GLM-4.1V, newer"
    image_only_processor = ImageOnlyGlm46VProcessor
