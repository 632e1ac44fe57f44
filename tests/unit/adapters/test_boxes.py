"""Boxes of visual tokens against what processors cut out and what models put together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

import lvlmsal
from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.boxes import grid_boxes
from lvlmsal.saliency.raster import raster, raster_shape
from lvlmsal.testing.tiny import tiny_lvlm

SIZES = [(90, 60), (120, 30), (33, 100), (60, 60), (200, 110)]


def ramp(width: int, height: int) -> Image.Image:
    """Red grows from left to right, green from top to bottom."""
    across = torch.linspace(0, 255, width).expand(height, width)
    down = torch.linspace(0, 255, height)[:, None].expand(height, width)
    pixels = torch.stack([across, down, torch.zeros_like(across)], dim=-1)
    return Image.fromarray(pixels.round().byte().numpy())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "family", ["internvl", "aya_vision", "cohere2_vision", "ovis2", "perception_lm"]
)
def test_tiles_lie_where_the_processor_cuts_them_out(family: str, size: tuple[int, int]) -> None:
    if family in ("cohere2_vision", "perception_lm"):
        pytest.importorskip("torchvision")
    adapter = adapter_for(*tiny_lvlm(family))
    inputs = adapter.encode([[ramp(*size)]], ["What?"])
    (boxes,) = adapter.patch_boxes(inputs, 0, [size])
    settings = adapter.require_processor().image_processor
    mean, std = (torch.tensor(v)[:, None, None] for v in (settings.image_mean, settings.image_std))
    shown = (inputs["pixel_values"].float().flatten(0, -4) * std + mean).mean((2, 3))[:, :2]
    assert boxes is not None
    tiles = boxes.reshape(len(shown), -1, 4)
    middles = (tiles[..., :2].amin(1) + tiles[..., 2:].amax(1)) / 2
    assert torch.allclose(middles, shown, atol=0.02)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", ["llava_next", "llava_onevision"])
def test_rows_of_tiles_lie_where_the_model_puts_them(family: str, size: tuple[int, int]) -> None:
    """Features that are their own places on the picture come out in the order of the tokens."""
    adapter = adapter_for(*tiny_lvlm(family))
    core: Any = adapter.model.base_model
    inputs = adapter.encode([[ramp(*size)]], ["What?"])
    (boxes,) = adapter.patch_boxes(inputs, 0, [size])
    side, canvas = 4, 28
    best = {(120, 30): (56, 28), (33, 100): (28, 56)}.get(size, (56, 56))
    scale = min(best[0] / size[0], best[1] / size[1])
    margins = [(best[axis] - size[axis] * scale) / 2 for axis in (0, 1)]
    own = grid_boxes(side, side)
    places = [(own[:, :2] + own[:, 2:]) / 2]
    for top in range(0, best[1], canvas):
        for left in range(0, best[0], canvas):
            inside = places[0] * canvas + torch.tensor([left, top])
            places.append((inside - torch.tensor(margins)) / (torch.tensor(size) * scale))
    packed, _ = core.pack_image_features(
        [torch.stack(places)],
        inputs["image_sizes"],
        image_newline=torch.full((2,), torch.nan),
        **({"vision_feature_select_strategy": "default"} if family == "llava_next" else {}),
        **({"vision_aspect_ratio": "anyres_max_2"} if family == "llava_onevision" else {}),
    )
    assert boxes is not None
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert packed[0].shape == middles.shape
    assert torch.equal(packed[0].isnan(), middles.isnan())
    # rows that are padded in part are kept or left out as a whole
    assert torch.allclose(packed[0], middles, atol=0.13, equal_nan=True)


def test_a_map_of_boxes_is_drawn_over_the_picture() -> None:
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    boxes = torch.tensor([left, right, (torch.nan,) * 4, (0.5, 0.5, 1.0, 1.0)])
    assert raster_shape(boxes) == (2, 2)
    drawn = raster(torch.tensor([[1.0, 2.0, 9.0, 4.0]]), boxes)
    assert torch.equal(drawn, torch.tensor([[[1.0, 2.0], [1.0, 3.0]]]))


@pytest.mark.parametrize(
    ("family", "shape"), [("llava_next", (8, 8)), ("idefics2", (1, 1)), ("chameleon", (4, 4))]
)
def test_a_report_draws_and_keeps_them(family: str, shape: tuple[int, int], tmp_path: Any) -> None:
    lvlm = lvlmsal.load(tiny_lvlm(family))
    report = lvlm.diagnose(ramp(60, 60), "What?", "This.")
    assert report.grids == [shape]
    assert report.images[0].size == (60, 60)
    assert report.image_map(0).shape == shape
    report.save(tmp_path / "report.safetensors")
    again = type(report).load(tmp_path / "report.safetensors")
    assert again.spans == report.spans
    assert again.grids == report.grids
    assert torch.equal(again.image_map(1, of="attention"), report.image_map(1, of="attention"))
