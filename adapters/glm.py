"""GLM-4.1V and GLM-4.6V, which take images as Qwen2-VL does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from lvlmsal.adapters.processors import ImageOnlyGlm4vProcessor, ImageOnlyGlm46VProcessor
from lvlmsal.adapters.qwen_vl import Qwen2VLAdapter
from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Glm4vForConditionalGeneration")
class Glm4vAdapter(Qwen2VLAdapter):
    """GLM-4.1V: dynamic resolution, and rotary positions in time, height and width.

    Frames of a video, merged in pairs, are written as images, each with its time behind it, and
    the model counts them as images: its check of placeholders fails where there are both.
    """

    architectures = ("Glm4vForConditionalGeneration",)
    family = "GLM-4.1V"
    summary = "GLM-4.1V: dynamic resolution, multimodal rotary positions"
    paper = "GLM-4.5V and GLM-4.1V-Thinking: Towards Versatile Multimodal Reasoning"
    url = "https://arxiv.org/abs/2507.01006"
    image_only_processor = ImageOnlyGlm4vProcessor
    tells_time = True
    videos_alone = True
    # its model has a method of its own for beams, which repeats each image by itself: A A B B
    mixes_beams = True

    def lost_in_beams(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> str:
        """Videos, too, of whose frames it takes each for a video; see the base class."""
        of_videos = f"the frames of videos of {self.family}" if "video_grid_thw" in inputs else ""
        return of_videos or super().lost_in_beams(inputs, spans)

    def by_kind(self, ids: Tensor) -> Tensor:
        """Visual tokens between the marks of a video are of it; see the base class."""
        config = self.model.config
        begun, ended = (
            (ids == mark).cumsum(-1)
            for mark in (config.video_start_token_id, config.video_end_token_id)
        )
        of_video = (ids == config.image_token_id) & (begun > ended)
        return ids.masked_fill(of_video, config.video_token_id)

    def within_video(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """Every video begins with a mark of its own; see the base class."""
        return self.model.config.video_start_token_id not in gap

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """A video from the mark before its first frame to that behind the last one's time."""
        start, end = image
        config = self.model.config
        marks = {config.video_start_token_id, config.video_end_token_id}
        before = next((at for at in reversed(range(start)) if ids[at] in marks), None)
        if before is None or ids[before] == config.video_end_token_id:
            return super().marked(ids, image)
        behind = (at for at in range(end, len(ids)) if ids[at] in marks)
        return before, next(behind, len(ids) - 1) + 1


@ADAPTERS.register("Glm46VForConditionalGeneration")
class Glm46VAdapter(Glm4vAdapter):
    """GLM-4.6V: as GLM-4.1V."""

    architectures = ("Glm46VForConditionalGeneration",)
    family = "GLM-4.6V"
    summary = "GLM-4.6V: as GLM-4.1V, newer"
    image_only_processor = ImageOnlyGlm46VProcessor
