"""Tiny random models of every supported family, with inputs that `generate` takes as they are.

Nothing is downloaded and nothing is read from disk. The same seed gives the same weights and the
same inputs. Weights are larger than at the start of a training, so that attention is far from
uniform and logits are far apart: a test that mixes up two columns or two rows fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from lvlmsal.spans import Interval
from lvlmsal.testing.processors import PATCH, QWEN_PATCH, SIDE, WORDS, tiny_processor

IMAGE, VIDEO, IMAGE_START, IMAGE_END = range(WORDS, WORDS + 4)
"""Ids of the marks; all other ids are those of text, the first four of them special."""

VOCABULARY: Final = WORDS + 4
_WIDTH: Final = 32
_SCALE: Final = 0.25


def _text(layers: int, kv_heads: int, heads: int, **extra: object) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": _WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 1024,
        "initializer_range": _SCALE,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **extra,
    }


def _qwen_text(layers: int, kv_heads: int, heads: int) -> dict[str, Any]:
    half = _WIDTH // heads // 2
    sections = [half - 2 * (half // 3), half // 3, half // 3]
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections}
    return _text(layers, kv_heads, heads, rope_parameters=rope)


def _llava(layers: int, kv_heads: int, heads: int) -> PreTrainedModel:
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": _WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": PATCH,
        "projection_dim": _WIDTH,
        "initializer_range": _SCALE,
    }
    config = LlavaConfig(
        vision_config=vision,
        text_config=_text(layers, kv_heads, heads, model_type="llama"),
        image_token_index=IMAGE,
        image_seq_length=(SIDE // PATCH) ** 2,
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def _qwen_ids() -> dict[str, Any]:
    return {
        "image_token_id": IMAGE,
        "video_token_id": VIDEO,
        "vision_start_token_id": IMAGE_START,
        "vision_end_token_id": IMAGE_END,
        "tie_word_embeddings": False,
    }


def _qwen2_vl(layers: int, kv_heads: int, heads: int) -> PreTrainedModel:
    vision = {
        "depth": 2,
        "embed_dim": _WIDTH,
        "hidden_size": _WIDTH,
        "num_heads": 4,
        "mlp_ratio": 2,
        "patch_size": QWEN_PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "initializer_range": _SCALE,
    }
    config = Qwen2VLConfig(
        vision_config=vision, text_config=_qwen_text(layers, kv_heads, heads), **_qwen_ids()
    )
    return Qwen2VLForConditionalGeneration(config)


def _qwen2_5_vl(layers: int, kv_heads: int, heads: int) -> PreTrainedModel:
    vision = {
        "depth": 2,
        "hidden_size": _WIDTH,
        "out_hidden_size": _WIDTH,
        "intermediate_size": 48,
        "num_heads": 4,
        "patch_size": QWEN_PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "initializer_range": _SCALE,
    }
    config = Qwen2_5_VLConfig(
        vision_config=vision, text_config=_qwen_text(layers, kv_heads, heads), **_qwen_ids()
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _internvl(layers: int, kv_heads: int, heads: int) -> PreTrainedModel:
    vision = {
        "hidden_size": _WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": [SIDE, SIDE],
        "patch_size": [PATCH, PATCH],
        "initializer_range": _SCALE,
    }
    config = InternVLConfig(
        vision_config=vision,
        text_config=_text(layers, kv_heads, heads, model_type="qwen2"),
        image_token_id=IMAGE,
        image_seq_length=(SIDE // PATCH // 2) ** 2,
        tie_word_embeddings=False,
    )
    return InternVLForConditionalGeneration(config)


TINY: Final[dict[str, Callable[[int, int, int], PreTrainedModel]]] = {
    "llava": _llava,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "internvl": _internvl,
}
"""Family -> what builds it from (layers, key-value heads, heads)."""


def tiny_model(
    family: str,
    *,
    layers: int = 2,
    kv_heads: int = 2,
    heads: int = 4,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> PreTrainedModel:
    """Build a tiny random model of `family`.

    Args:
        family: A key of :data:`TINY`.
        layers: Depth of the text decoder.
        kv_heads: Key-value heads; fewer than `heads` is grouped-query attention.
        heads: Attention heads; divides 32.
        dtype: Of the weights. They are drawn in float32, so that every dtype has the same model.
        seed: Of the weights. The global generator is left as it was.

    Returns:
        The model, in evaluation mode, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TINY[family](layers, kv_heads, heads)
    model.generation_config.pad_token_id = 0
    model.train(False)
    torch.nn.Module.to(model, dtype)
    return model


def tiny_lvlm(
    family: str,
    *,
    layers: int = 2,
    kv_heads: int = 2,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[PreTrainedModel, Any]:
    """Build a tiny random model and a real processor that fits it.

    Args:
        family: A key of :data:`TINY`.
        layers: Depth of the text decoder.
        kv_heads: Key-value heads, of 4 heads.
        dtype: Of the weights.
        seed: Of the weights.

    Returns:
        The model, and a processor that takes real images and any text.
    """
    model = tiny_model(family, layers=layers, kv_heads=kv_heads, dtype=dtype, seed=seed)
    return model, tiny_processor(family)


@dataclass(frozen=True)
class TinySample:
    """One unpadded sample of a tiny family, and where its images are.

    Attributes:
        inputs: What `forward` and `generate` take, batch of one.
        images: Interval of each image, as it was laid out.
        grids: (rows, columns) of the visual tokens of each image.
    """

    inputs: dict[str, Tensor]
    images: tuple[Interval, ...]
    grids: tuple[tuple[int, int], ...]


def tiny_samples(
    family: str,
    images_per_sample: Sequence[int] = (1,),
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> list[TinySample]:
    """Draw unpadded samples: random text, of another length in each, with random images in it.

    Args:
        family: A key of :data:`TINY`. Qwen-VL images come in several sizes, InternVL images in
            several tiles.
        images_per_sample: Number of images of each sample; 0 is a sample of text alone.
        seed: Of texts, sizes and pixels.
        dtype: Of the pixels.

    Returns:
        One sample for each entry.
    """
    generator = torch.Generator().manual_seed(seed)
    return [_sample(family, count, generator, dtype) for count in images_per_sample]


def tiny_inputs(
    family: str,
    images_per_sample: Sequence[int] = (1,),
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Draw a left-padded batch; the arguments are those of :func:`tiny_samples`.

    Returns:
        `input_ids`, `attention_mask` and, as the family needs, `pixel_values`, `image_grid_thw` and
        `mm_token_type_ids`: everything that `model.generate(**inputs)` needs.
    """
    return collate(tiny_samples(family, images_per_sample, seed=seed, dtype=dtype))


def collate(samples: Sequence[TinySample]) -> dict[str, Tensor]:
    """Pad samples at the left and put them into one batch.

    Args:
        samples: Of one family.

    Returns:
        The inputs of the batch.
    """
    width = max(sample.inputs["input_ids"].shape[1] for sample in samples)
    batch: dict[str, list[Tensor]] = {}
    for sample in samples:
        for name, value in sample.inputs.items():
            if name in _PER_TOKEN:
                value = torch.nn.functional.pad(value, (width - value.shape[1], 0))
            batch.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in batch.items()}


_PER_TOKEN: Final = ("input_ids", "attention_mask", "mm_token_type_ids")


def _sample(family: str, count: int, generator: torch.Generator, dtype: torch.dtype) -> TinySample:
    """Lay out text, image, text, image, text; images are wrapped where the family does."""

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    def text(low: int, high: int) -> list[int]:
        size = draw(low, high)
        return torch.randint(4, WORDS, (size,), generator=generator).tolist()

    wrapped = family != "llava"
    ids = [1, *text(2, 6)]
    images: list[Interval] = []
    grids: list[tuple[int, int]] = []
    pixels: list[Tensor] = []
    thw: list[list[int]] = []
    for index in range(count):
        if index:
            ids += text(1, 4)
        ids += [IMAGE_START] * wrapped
        if family == "llava":
            grid = (SIDE // PATCH, SIDE // PATCH)
            pixels.append(torch.randn(1, 3, SIDE, SIDE, generator=generator))
        elif family == "internvl":
            tiles = (1, 3, 4)[draw(0, 2)]
            side = SIDE // PATCH // 2
            grid = (tiles * side, side)
            pixels.append(torch.randn(tiles, 3, SIDE, SIDE, generator=generator))
        else:
            grid = (draw(1, 3), draw(1, 4))
            thw.append([1, 2 * grid[0], 2 * grid[1]])
            patches, features = 4 * grid[0] * grid[1], 3 * 2 * QWEN_PATCH**2
            pixels.append(torch.randn(patches, features, generator=generator))
        images.append((len(ids), len(ids) + grid[0] * grid[1]))
        grids.append(grid)
        ids += [IMAGE] * (grid[0] * grid[1]) + [IMAGE_END] * wrapped
    ids += text(3, 9)
    input_ids = torch.tensor([ids])
    inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    if pixels:
        inputs["pixel_values"] = torch.cat(pixels).to(dtype)
    if thw:
        inputs["image_grid_thw"] = torch.tensor(thw)
    if family.startswith("qwen"):
        inputs["mm_token_type_ids"] = (input_ids == IMAGE).long()
    return TinySample(inputs, tuple(images), tuple(grids))
