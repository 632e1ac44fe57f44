"""Qwen-VL from 2 on: as many visual tokens as the size of the image asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from transformers import ProcessorMixin

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.pixels import TEXT
from lvlmsal.adapters.processors import (
    ImageOnlyQwen2VLProcessor,
    ImageOnlyQwen3VLProcessor,
    ImageOnlyQwen25OmniProcessor,
)
from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.videos import Clip
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Qwen2VLForConditionalGeneration")
class Qwen2VLAdapter(ModelAdapter):
    """Qwen2-VL: dynamic resolution, and rotary positions in time, height and width."""

    architectures: ClassVar[tuple[str, ...]] = ("Qwen2VLForConditionalGeneration",)
    family = "Qwen2-VL"
    summary = "Qwen2-VL: dynamic resolution, multimodal rotary positions"
    paper = "Qwen2-VL: Enhancing Vision-Language Model's Perception of the World at Any Resolution"
    url = "https://arxiv.org/abs/2409.12191"
    image_only_processor: ClassVar[type[ProcessorMixin] | None] = ImageOnlyQwen2VLProcessor
    wraps_images = True
    takes_videos = True

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mark images (1) and videos (2), from which the model works out its rotary positions.

        Without the marks `generate` runs all the same, with wrong positions and no warning.
        """
        ids, config = self.by_kind(inputs["input_ids"]), self.model.config
        images, videos = ids == config.image_token_id, ids == config.video_token_id
        kinds = images.long() + 2 * videos.long()
        return {**inputs, "mm_token_type_ids": inputs.get("mm_token_type_ids", kinds)}

    def goes_on(self, inputs: Mapping[str, Tensor]) -> bool:
        """Not where a video is so long that it reaches behind the text; see the base class."""
        if "video_grid_thw" not in inputs:
            return True
        names = (*self.size_inputs.values(), *self.video_inputs, *TEXT[:3])
        given = {name: inputs[name] for name in names if name in inputs}
        core: Any = self.model.base_model
        positions = core.get_rope_index(**given)[0]  # in time, height and width, (3, B, L)
        return bool((positions[..., -1] == positions.amax((0, 2))).all())

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> Sequence[tuple[int, int] | None]:
        """Patches of each image, merged 2 x 2; the frames of a video are stacked."""
        merge = self.model.config.vision_config.spatial_merge_size
        return [(t * (h // merge), w // merge) for t, h, w in self._sizes(inputs, spans)]

    def panels(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> list[int]:
        """The frames of each video, which are merged in pairs; see the base class."""
        return [frames for frames, _, _ in self._sizes(inputs, spans)]

    def _sizes(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int, int]]:
        """Frames, height and width of every image and video, in patches of the tower."""
        return self._entries(inputs, spans, "image_grid_thw", "video_grid_thw")

    def _entries(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans], *names: str
    ) -> list[Any]:
        """What two inputs say of every image and of every video, in the order of the sequence."""
        none = torch.empty(0)
        images, videos = (iter(inputs.get(name, none).tolist()) for name in names)
        found = []
        for ids, sample in zip(inputs["input_ids"], spans, strict=True):
            of_video = self.videos_among(ids, sample)
            for image in range(len(sample.images)):
                size = next(videos if image in of_video else images, None)
                if size is None:
                    raise UnsupportedError(
                        "the prompts hold more images or videos than there are sizes of in "
                        f"`{names[0]}` and `{names[1]}`"
                    )
                found.append(size)
        return found


@ADAPTERS.register("Qwen2_5_VLForConditionalGeneration")
class Qwen25VLAdapter(Qwen2VLAdapter):
    """Qwen2.5-VL: as Qwen2-VL, with a tower that attends within windows."""

    architectures = ("Qwen2_5_VLForConditionalGeneration",)
    family = "Qwen2.5-VL"
    summary = "Qwen2.5-VL: as Qwen2-VL, windowed vision tower"
    paper = "Qwen2.5-VL Technical Report"
    url = "https://arxiv.org/abs/2502.13923"
    tells_time = True
    video_inputs = ("second_per_grid_ts",)


@ADAPTERS.register("Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration")
class Qwen3VLAdapter(Qwen2VLAdapter):
    """Qwen3-VL: as Qwen2-VL, and features of several layers of its tower join the decoder's."""

    architectures = ("Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration")
    family = "Qwen3-VL"
    summary = "Qwen3-VL, dense or with experts: as Qwen2-VL, its tower joins more layers"
    paper = "Qwen3-VL Technical Report"
    url = "https://arxiv.org/abs/2511.21631"
    image_only_processor = ImageOnlyQwen3VLProcessor
    tells_time = True

    def within_video(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """Each frame is wrapped, behind its time; around a video there is one more pair of marks.

        See the base class.
        """
        return gap.count(self.model.config.vision_start_token_id) == 1

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """A video from the mark before the time of its first frame on; see the base class."""
        start, end = super().marked(ids, image)
        config = self.model.config
        if ids[image[0]] != config.video_token_id:
            return start, end
        begin = max(
            (at for at in range(start) if ids[at] == config.vision_start_token_id), default=0
        )
        return begin, end + 1


@ADAPTERS.register("Qwen2_5OmniThinkerForConditionalGeneration")
class Qwen25OmniAdapter(Qwen2VLAdapter):
    """The thinker of Qwen2.5-Omni, which writes; its talker, which speaks, is another model."""

    architectures = ("Qwen2_5OmniThinkerForConditionalGeneration",)
    family = "Qwen2.5-Omni"
    summary = "Qwen2.5-Omni's thinker: as Qwen2.5-VL; it hears nothing here"
    paper = "Qwen2.5-Omni Technical Report"
    url = "https://arxiv.org/abs/2503.20215"
    image_only_processor = ImageOnlyQwen25OmniProcessor
    tells_time = True
    video_inputs = ("video_second_per_grid",)

    def process_videos(
        self,
        texts: Sequence[str],
        images: Sequence[Sequence[Image.Image]],
        videos: Sequence[Sequence[Clip]],
    ) -> Mapping[str, Any]:
        """Each video at its own rate, where the processor takes one for all; see the base class."""
        found = dict(super().process_videos(texts, images, videos))
        rates = [clip.rate for clips in videos for clip in clips]
        if rates:
            together = self.require_processor().video_processor.temporal_patch_size
            seconds = [together / rate for rate in rates if rate is not None]
            found["video_second_per_grid"] = torch.tensor(seconds)
        return found

    def goes_on(self, inputs: Mapping[str, Tensor]) -> bool:
        """Text goes on behind the highest position of a video."""
        return True
