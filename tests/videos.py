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
from transformers.models.smolvlm import processing_smolvlm
from transformers.video_utils import VideoMetadata, make_batched_metadata, make_batched_videos

from lvlmsal import Video
from lvlmsal.adapters.processors import WithoutVideos
from lvlmsal.tiny.models import tiny_lvlm
from lvlmsal.tiny.parts import PATCH, SIDE
from lvlmsal.tiny.processors import IDEFICS_SIDE, QWEN_PATCH

OMNI = "qwen2_5_omni_thinker"
MERGED = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", OMNI, "glm4v", "glm46v")
"""Families that merge frames in pairs."""

STACKED = ("llava_next_video", "llava_onevision", "video_llava", "internvl", "smolvlm")
"""Families whose frames are images of one size."""

PATCHED = (*MERGED, "video_llama_3")
"""Families whose frames keep their shape."""

HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None
WHOLE = ("perception_lm", "molmo2") if HAS_TORCHVISION else ()
"""Families whose processors, also those of images, need torchvision."""

VIDEO_FAMILIES = (*PATCHED, *STACKED, *WHOLE)
ALONE = ("glm4v", "glm46v", "smolvlm", *WHOLE[1:])
"""Families that take no images where there are videos."""

TOLD_TIMES = ("qwen2_5_vl", "qwen3_vl", OMNI, "video_llama_3", *ALONE)
"""Families that are told when frames were."""

PAIRS = ("qwen3_vl", "glm4v", "glm46v")
"""Families that refuse a video of one frame."""

smolvlm: Any = processing_smolvlm  # whose names have no types
_BLOCK = 2 * QWEN_PATCH
_FRAMES = {"shortest_edge": _BLOCK**2, "longest_edge": 64 * _BLOCK**2}
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
    shown = {config.image_token_id, getattr(config, "video_token_id", None)}
    return [at for at, token in enumerate(ids.tolist()) if token in shown]


def frames_input(family: str) -> str:
    """The input with the pixels of frames."""
    return "pixel_values" if family in ("internvl", "smolvlm") else "pixel_values_videos"


def frame_sides(family: str) -> tuple[int, int]:
    """Width and height of frames that a tiny family takes as they are."""
    if family == "smolvlm":
        return (IDEFICS_SIDE, IDEFICS_SIDE)
    return (3 * _BLOCK, 2 * _BLOCK) if family in PATCHED else (SIDE, SIDE)


class _Double:
    """What the parts for videos of transformers do with frames that need no scaling."""

    model_input_names = ("pixel_values_videos",)
    do_center_crop = False
    num_frames, fps = None, None
    side = SIDE

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
        size = (self.side, self.side)
        return frames / 255 if frames.shape[-2:] == size else interpolate(frames / 255, size)

    def inputs(self, videos: list[Tensor]) -> dict[str, Tensor]:
        """A row of frames for each video."""
        return {"pixel_values_videos": torch.stack(videos)}


class _Images(_Double):
    """Frames as images are, with a mask that leaves out nothing."""

    side = IDEFICS_SIDE

    def inputs(self, videos: list[Tensor]) -> dict[str, Tensor]:
        pixels = torch.stack(videos)
        seen = torch.ones_like(pixels[:, :, 0], dtype=torch.long)
        return {"pixel_values": pixels, "pixel_attention_mask": seen}


class _Patches(_Double):
    """Patches of frames, mostly pairs of them, in blocks of 2 x 2, strung together."""

    merge_size = 2

    def __init__(self, least: int = 1, together: int = 2) -> None:
        self.least, self.temporal_patch_size = least, together

    def scaled(self, frames: Tensor) -> Tensor:
        """Sides are multiples of a block already."""
        return frames / 255

    def inputs(self, videos: list[Tensor]) -> dict[str, Tensor]:
        found, sizes = [], []
        for frames in videos:
            if len(frames) < self.least:
                raise ValueError(f"t:{len(frames)} must be larger than temporal_factor:2")
            together = self.temporal_patch_size
            even = torch.cat([frames, frames[-1:]]) if len(frames) % together else frames
            steps, (rows, columns) = (
                len(even) // together,
                (side // QWEN_PATCH for side in even.shape[-2:]),
            )
            cut = even.reshape(
                *(steps, together, 3), *(rows // 2, 2, QWEN_PATCH), *(columns // 2, 2, QWEN_PATCH)
            )
            found.append(cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(steps * rows * columns, -1))
            sizes.append([steps, rows, columns])
        return {"pixel_values_videos": torch.cat(found), "video_grid_thw": torch.tensor(sizes)}


class _Compressed(_Patches):
    """Patches of each frame, and which blocks differ from those of the frame before."""

    def inputs(self, videos: list[Tensor]) -> dict[str, Tensor]:
        made = super().inputs(videos)
        sizes, masks = made["video_grid_thw"], []
        for patches, size in zip(
            made["pixel_values_videos"].split(sizes.prod(-1).tolist()), sizes.tolist(), strict=True
        ):
            blocks = patches.reshape(size[0], size[1] * size[2] // 4, -1)
            kept = torch.ones(blocks.shape[:2], dtype=torch.bool)
            kept[1:] = blocks.diff(dim=0).abs().mean(-1) * 255 > 0.1
            kept[~kept.any(1), 0] = True
            masks.append(kept.flatten())
        merged = torch.full((len(sizes),), self.merge_size)
        return {**made, "video_merge_sizes": merged, "video_compression_mask": torch.cat(masks)}


class _SmolVLMProcessor(processing_smolvlm.SmolVLMProcessor, WithoutVideos):
    """Likewise."""


class _Qwen25Processor(Qwen2_5_VLProcessor, WithoutVideos):
    """Built without its part for videos, which is put into it."""


def tiny_video_lvlm(family: str, **options: Any) -> tuple[PreTrainedModel, Any]:
    """A tiny model and a processor that takes videos."""
    model, processor = tiny_lvlm(family, **options)
    if family == "qwen2_5_vl":
        build: Any = _Qwen25Processor
        parts = (processor.image_processor, processor.tokenizer)
        processor = build(*parts, chat_template=processor.chat_template)
    if family == "smolvlm":
        smol: Any = _SmolVLMProcessor
        if smolvlm.num2words is None:  # numbers are written as digits then
            smolvlm.num2words = str
        parts = (processor.image_processor, processor.tokenizer, None)
        options = {name: getattr(processor, name) for name in ("image_seq_len", "chat_template")}
        processor = smol(*parts, **options)
    if family == OMNI:  # whose processor has a size of its own, of real frames
        processor.videos_kwargs = {"size": _FRAMES}
    processor.video_processor = _own_part(family) if HAS_TORCHVISION else _double(family)
    return model, processor


def _double(family: str) -> Any:
    if family == "smolvlm":
        return _Images()
    if family == "video_llama_3":
        return _Compressed(together=1)
    least = 2 if family in PAIRS else 1
    return _Patches(least) if family in MERGED else _Double()


def _own_part(family: str) -> Any:
    import transformers

    hf: Any = transformers
    merged = {"patch_size": QWEN_PATCH, "merge_size": 2, "temporal_patch_size": 2, "size": _FRAMES}
    clip = {"image_mean": _MEAN, "image_std": _STD}
    square = {"height": SIDE, "width": SIDE}
    if family == "qwen3_vl":
        return hf.Qwen3VLVideoProcessor(**merged, **clip)
    if family == "molmo2":
        return hf.Molmo2VideoProcessor(size=square, patch_size=PATCH)
    if family == "perception_lm":
        return hf.PerceptionLMVideoProcessor(size=square)
    if family in ("glm4v", "glm46v"):
        name = "Glm4vVideoProcessor" if family == "glm4v" else "Glm46VVideoProcessor"
        return getattr(hf, name)(**merged, **clip)
    if family == "video_llama_3":
        return hf.VideoLlama3VideoProcessor(**{**merged, "temporal_patch_size": 1})
    if family in MERGED:
        return hf.Qwen2VLVideoProcessor(**merged, **clip, cap_pixels_per_frame=False)
    if family in ("llava_next_video", "video_llava"):
        own = "LlavaNextVideoVideo" if family == "llava_next_video" else "VideoLlavaVideo"
        return getattr(hf, f"{own}Processor")(size={"shortest_edge": SIDE}, crop_size=square)
    if family == "smolvlm":
        edge = {"longest_edge": IDEFICS_SIDE}
        return hf.SmolVLMVideoProcessor(size=edge, max_image_size=edge)
    if family == "internvl":
        return hf.InternVLVideoProcessor(size=square)
    return hf.LlavaOnevisionVideoProcessor(size=square)
