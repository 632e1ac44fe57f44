"""VideoLLaMA3: as many visual tokens as the size of the image asks for, positions as of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from lvlmsal.adapters.processors import ImageOnlyVideoLlama3Processor
from lvlmsal.adapters.qwen_vl import Qwen2VLAdapter
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("VideoLlama3ForConditionalGeneration")
class VideoLlama3Adapter(Qwen2VLAdapter):
    """VideoLLaMA3 with images: each says in its inputs how its patches are merged."""

    architectures = ("VideoLlama3ForConditionalGeneration",)
    family = "VideoLLaMA3"
    summary = "VideoLLaMA3 with images: dynamic resolution, plain rotary positions"
    paper = "VideoLLaMA 3: Frontier Multimodal Foundation Models for Image and Video Understanding"
    url = "https://arxiv.org/abs/2501.13106"
    image_only_processor = ImageOnlyVideoLlama3Processor
    wraps_images = False
    takes_videos = False
    image_inputs = ("image_merge_sizes",)

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int]]:
        """Patches of each image, merged in blocks of a side of its own."""
        merged = inputs.get("image_merge_sizes")
        sides = [] if merged is None else merged.tolist()
        sizes = self._sizes(inputs, spans)
        return [(t * (h // side), w // side) for (t, h, w), side in zip(sizes, sides, strict=True)]
