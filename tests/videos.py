"""Tiny models that take videos, and the parts of processors that transformers builds for them.

Where torchvision is installed these are transformers' own. Elsewhere they are doubles, which make
the same inputs of frames that need no scaling; what the processors themselves write (placeholders,
times, sizes) is transformers' own in both.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import (
    PreTrainedModel,
    Qwen2_5_VLProcessor,
)
from transformers.video_utils import VideoMetadata, make_batched_metadata, make_batched_videos

from lvlmsal import Video
from lvlmsal.adapters.processors import WithoutVideos
from lvlmsal.tiny.models import tiny_lvlm
from lvlmsal.tiny.parts import SIDE
from lvlmsal.tiny.processors import QWEN_PATCH

MERGED = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v", "glm46v")
"""Families that merge frames in pairs."""

STACKED = ("llava_next_video", "llava_onevision")
"""Families whose frames are images of one size."""

VIDEO_FAMILIES = (*MERGED, *STACKED)
ALONE = ("glm4v", "glm46v")
"""Families that take no images where there are videos."""

TOLD_TIMES = ("qwen2_5_vl", "qwen3_vl", "glm4v", "glm46v")
"""Families that are told when frames were."""

PAIRS = ("qwen3_vl", "glm4v", "glm46v")
"""Families that refuse a video of one frame."""
HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None

_BLOCK = 2 * QWEN_PATCH
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def video(count: int = 4, *, seed: int = 0, fps: float | None = 2.0, sides: Any = None) -> Video:
    """Random frames that every family takes without scaling them: 28 or 16 x 24 pixels."""
    width, height = sides or (SIDE, SIDE)
    generator = np.random.default_rng(seed)
    frames = generator.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return Video([Image.fromarray(frame) for frame in frames], fps=fps)


def video_places(model: PreTrainedModel, ids: Tensor) -> list[int]:
    """Where the visual tokens of a row stand whose only pictures are videos."""
    config: Any = model.config
    shown = {config.image_token_id, config.video_token_id}
    return [at for at, token in enumerate(ids.tolist()) if token in shown]


def frame_sides(family: str) -> tuple[int, int]:
    """Width and height of frames that a tiny family takes as they are."""
    return (3 * _BLOCK, 2 * _BLOCK) if family in MERGED else (SIDE, SIDE)


class _Double:
    """What the parts for videos of transformers do with frames that need no scaling."""

    model_input_names = ("pixel_values_videos",)
    do_center_crop = False

    def __call__(self, videos: Any, **options: Any) -> dict[str, Any]:
        batch = make_batched_videos(videos)
        metadata: list[VideoMetadata] = make_batched_metadata(batch, options["video_metadata"])
        pixels = [self.scaled(torch.from_numpy(frames).permute(0, 3, 1, 2)) for frames in batch]
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
        return {
            **self.inputs([(each - mean) / std for each in pixels]),
            "video_metadata": metadata,
        }

    def scaled(self, frames: Tensor) -> Tensor:
        """Frames as squares of one size, 0 to 1."""
        same = frames.shape[-2:] == (SIDE, SIDE)
        return frames / 255 if same else interpolate(frames / 255, (SIDE, SIDE))

    def inputs(self, videos: list[Tensor]) -> dict[str, Tensor]:
        """A row of frames for each video."""
        return {"pixel_values_videos": torch.stack(videos)}


class _Patches(_Double):
    """Patches of pairs of frames in blocks of 2 x 2, strung together."""

    merge_size = temporal_patch_size = 2

    def __init__(self, least: int) -> None:
        self.least = least

    def scaled(self, frames: Tensor) -> Tensor:
        """Sides are multiples of a block already."""
        return frames / 255

    def inputs(self, videos: list[Tensor]) -> dict[str, Tensor]:
        found, sizes = [], []
        for frames in videos:
            if len(frames) < self.least:
                raise ValueError(f"t:{len(frames)} must be larger than temporal_factor:2")
            even = torch.cat([frames, frames[-1:]]) if len(frames) % 2 else frames
            steps, (rows, columns) = (
                len(even) // 2,
                (side // QWEN_PATCH for side in even.shape[-2:]),
            )
            cut = even.reshape(
                *(steps, 2, 3), *(rows // 2, 2, QWEN_PATCH), *(columns // 2, 2, QWEN_PATCH)
            )
            found.append(cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(steps * rows * columns, -1))
            sizes.append([steps, rows, columns])
        return {"pixel_values_videos": torch.cat(found), "video_grid_thw": torch.tensor(sizes)}


class _Qwen25Processor(Qwen2_5_VLProcessor, WithoutVideos):
    """Built without its part for videos, which is put into it."""


def tiny_video_lvlm(family: str, **options: Any) -> tuple[PreTrainedModel, Any]:
    """A tiny model and a processor that takes videos."""
    model, processor = tiny_lvlm(family, **options)
    if family == "qwen2_5_vl":
        build: Any = _Qwen25Processor
        parts = (processor.image_processor, processor.tokenizer)
        processor = build(*parts, chat_template=processor.chat_template)
    processor.video_processor = _own_part(family) if HAS_TORCHVISION else _double(family)
    return model, processor


def _double(family: str) -> Any:
    least = 2 if family in PAIRS else 1
    return _Patches(least) if family in MERGED else _Double()


def _own_part(family: str) -> Any:
    import transformers

    hf: Any = transformers
    pixels = {"shortest_edge": _BLOCK**2, "longest_edge": 64 * _BLOCK**2}
    merged = {"patch_size": QWEN_PATCH, "merge_size": 2, "temporal_patch_size": 2, "size": pixels}
    clip = {"image_mean": _MEAN, "image_std": _STD}
    if family == "qwen3_vl":
        return hf.Qwen3VLVideoProcessor(**merged, **clip)
    if family in ALONE:
        name = "Glm4vVideoProcessor" if family == "glm4v" else "Glm46VVideoProcessor"
        return getattr(hf, name)(**merged, **clip)
    if family in MERGED:
        return hf.Qwen2VLVideoProcessor(**merged, **clip, cap_pixels_per_frame=False)
    square = {"height": SIDE, "width": SIDE}
    if family == "llava_next_video":
        return hf.LlavaNextVideoVideoProcessor(size={"shortest_edge": SIDE}, crop_size=square)
    return hf.LlavaOnevisionVideoProcessor(size=square)
