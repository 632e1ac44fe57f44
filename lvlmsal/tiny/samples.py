"""Random samples for the tiny models: text and images in a layout that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lvlmsal.adapters.lookup import adapter_for
from lvlmsal.adapters.pixels import TEXT
from lvlmsal.adapters.spans import Interval
from lvlmsal.tiny.models import FURTHER, tiny_lvlm
from lvlmsal.tiny.parts import IMAGE, IMAGE_END, IMAGE_START, PATCH, SIDE, VIDEO, WORDS
from lvlmsal.tiny.processors import IDEFICS_SIDE, QWEN_PATCH


@dataclass(frozen=True)
class TinySample:
    """One unpadded sample of a tiny family, and where its images are.

    Attributes:
        inputs: What `forward` and `generate` take, batch of one.
        images: Interval of each image, as it was laid out.
        grids: (rows, columns) of the visual tokens of each image.
        pads_images: Whether `pixel_values` is the row of all images of the sample.
    """

    inputs: dict[str, Tensor]
    images: tuple[Interval, ...]
    grids: tuple[tuple[int, int], ...]
    pads_images: bool = False


def tiny_samples(
    family: str,
    images_per_sample: Sequence[int] = (1,),
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> list[TinySample]:
    """Draw unpadded samples: random text, of another length in each, with random images in it.

    Args:
        family: A key of `lvlmsal.tiny.models.TINY` or `FURTHER`. Qwen-VL images come in several
            sizes, InternVL images in several tiles.
        images_per_sample: Number of images of each sample; 0 is a sample of text alone.
        seed: Of texts, sizes and pixels.
        dtype: Of the pixels.

    Returns:
        One sample for each entry.
    """
    generator = torch.Generator().manual_seed(seed)
    if family in FURTHER:
        return _encoded(family, images_per_sample, generator, dtype)
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
        `input_ids`, `attention_mask` and, as the family needs, `pixel_values`, `image_grid_thw`,
        `mm_token_type_ids` and others: everything that `model.generate(**inputs)` needs.
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
            if name in TEXT:
                value = torch.nn.functional.pad(value, (width - value.shape[1], 0))
            batch.setdefault(name, []).append(value)
    shapes = {name: _largest(values) for name, values in batch.items()}
    if any(sample.pads_images for sample in samples):  # a sample without images has a row, too
        for name in batch.keys() - {*TEXT}:
            nothing = batch[name][0].new_zeros(1, *shapes[name])
            batch[name] = [sample.inputs.get(name, nothing) for sample in samples]
    return {
        name: torch.cat([_padded(value, shapes[name]) for value in values])
        for name, values in batch.items()
    }


def _largest(values: Sequence[Tensor]) -> list[int]:
    """The size that all entries of some inputs fit in: number of tiles, height, width and so on."""
    return [max(sizes) for sizes in zip(*(value.shape[1:] for value in values), strict=True)]


def _padded(value: Tensor, shape: Sequence[int]) -> Tensor:
    """With zeros behind, as processors bring smaller images and rows of fewer to one size."""
    missing = [want - size for want, size in zip(shape, value.shape[1:], strict=True)]
    return torch.nn.functional.pad(value, [n for more in reversed(missing) for n in (0, more)])


def _encoded(
    family: str, images_per_sample: Sequence[int], generator: torch.Generator, dtype: torch.dtype
) -> list[TinySample]:
    """Samples of random pixels and letters, as the family's processor and adapter make them."""
    adapter = adapter_for(*tiny_lvlm(family))
    samples = []
    for count in images_per_sample:
        sizes = torch.randint(SIDE // 2, 3 * SIDE, (count, 2), generator=generator).tolist()
        images = [
            torch.randint(256, (*size, 3), generator=generator, dtype=torch.uint8) for size in sizes
        ]
        length = int(torch.randint(3, 10, (), generator=generator))
        text = bytes(torch.randint(97, 123, (length,), generator=generator).tolist()).decode()
        inputs = {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in adapter.encode([images], [text]).items()
        }
        spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])[0]
        grids = tuple(grid for grid in adapter.patch_grids(inputs, 0) if grid is not None)
        samples.append(TinySample(inputs, spans.images, grids, adapter.pads_images))
    return samples


_AROUND: Final[dict[str, tuple[list[int], list[int]]]] = {
    "llava": ([], []),
    "idefics3": ([IMAGE_START, VIDEO], [IMAGE_START]),
}
"""Marks before and behind the visual tokens of an image, where they are not the usual two."""


def _sample(family: str, count: int, generator: torch.Generator, dtype: torch.dtype) -> TinySample:
    """Lay out text, image, text, image, text; images are wrapped where the family does."""

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    def text(low: int, high: int) -> list[int]:
        size = draw(low, high)
        return torch.randint(4, WORDS, (size,), generator=generator).tolist()

    begin, close = _AROUND.get(family, ([IMAGE_START], [IMAGE_END]))
    ids = [1, *text(2, 6)]
    images: list[Interval] = []
    grids: list[tuple[int, int]] = []
    pixels: list[Tensor] = []
    thw: list[list[int]] = []
    for index in range(count):
        if index:
            ids += text(1, 4)
        ids += begin
        if family == "llava":
            grid = (SIDE // PATCH, SIDE // PATCH)
            pixels.append(torch.randn(1, 3, SIDE, SIDE, generator=generator))
        elif family == "internvl":
            tiles = (1, 3, 4)[draw(0, 2)]
            side = SIDE // PATCH // 2
            grid = (tiles * side, side)
            pixels.append(torch.randn(tiles, 3, SIDE, SIDE, generator=generator))
        elif family == "idefics3":
            side = IDEFICS_SIDE // QWEN_PATCH // 2
            grid = (side, side)
            pixels.append(torch.randn(1, 3, IDEFICS_SIDE, IDEFICS_SIDE, generator=generator))
        else:
            grid = (draw(1, 3), draw(1, 4))
            thw.append([1, 2 * grid[0], 2 * grid[1]])
            patches, features = 4 * grid[0] * grid[1], 3 * 2 * QWEN_PATCH**2
            pixels.append(torch.randn(patches, features, generator=generator))
        images.append((len(ids), len(ids) + grid[0] * grid[1]))
        grids.append(grid)
        ids += [IMAGE] * (grid[0] * grid[1]) + close
    ids += text(3, 9)
    input_ids = torch.tensor([ids])
    inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    if pixels:
        strung = torch.cat(pixels).to(dtype)
        inputs["pixel_values"] = strung[None] if family == "idefics3" else strung
    if thw:
        inputs["image_grid_thw"] = torch.tensor(thw)
    if family.startswith("qwen"):
        inputs["mm_token_type_ids"] = (input_ids == IMAGE).long()
    return TinySample(inputs, tuple(images), tuple(grids), family == "idefics3")
