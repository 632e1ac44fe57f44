"""Molmo2's visual tokens lie where the patches are that they pool; rows get new numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters.molmo2 import Molmo2Adapter
from lvlmsal.errors import UnsupportedError
from lvlmsal.testing.tiny import tiny_lvlm
from lvlmsal.tiny.parts import PATCH

pytest.importorskip("torchvision", reason="needs torchvision")
pytestmark = pytest.mark.slow


def ramp(width: int, height: int) -> Image.Image:
    """Red says how far to the right a pixel is, green how far down."""
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    shares = np.stack([across / width, down / height, np.zeros_like(across)], -1)
    return Image.fromarray((shares * 255).round().astype(np.uint8))


def places(inputs: dict[str, Tensor], mean: float, std: float) -> Tensor:
    """Where the patches of each visual token are, on average, by the colors of the ramp."""
    pixels = inputs["pixel_values"].float() * std + mean
    patches = pixels.reshape(-1, PATCH * PATCH, 3).mean(1)[:, :2]
    pooled = inputs["image_token_pooling"].long()
    real = (pooled >= 0).float()[..., None]
    return (patches[pooled.clamp(min=0)] * real).sum(1) / real.sum(1)


@pytest.mark.parametrize("size", [(90, 60), (40, 140), (64, 64)])
@pytest.mark.parametrize("pool", [2, 3])
def test_boxes_lie_where_the_pooled_patches_are(pool: int, size: tuple[int, int]) -> None:
    model, processor = tiny_lvlm("molmo2")
    processor.image_processor.pooling_size = [pool, pool]
    adapter = Molmo2Adapter(model, processor)
    inputs = adapter.encode([[], [ramp(50, 50), ramp(*size)]], ["No.", "What?"])
    boxes = adapter.patch_boxes(inputs, 1, [(50, 50), size])
    assert all(of_image is not None for of_image in boxes)
    every = torch.cat([of_image for of_image in boxes if of_image is not None])
    wanted = places(inputs, 0.5, 0.5)
    assert every.shape == (len(wanted), 4)
    centers = (every[:, :2] + every[:, 2:]) / 2
    assert float((centers - wanted).abs().max()) < 0.04
    assert float((every[:, 2:] - every[:, :2]).min()) > 0


def test_a_sample_that_is_selected_has_the_logits_that_it_has_alone() -> None:
    adapter = Molmo2Adapter(*tiny_lvlm("molmo2"))
    pictures = [[ramp(90, 60)], [ramp(30, 80), ramp(64, 64)], []]
    texts = ["What is it?", "The same?", "None?"]
    inputs = adapter.encode(pictures, texts)
    spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    chosen = adapter.select_rows(inputs, spans, [1, 0, 1])
    with torch.no_grad():
        found = adapter.model(**chosen).logits[:, -1]
        alone = [
            adapter.model(**adapter.encode([pictures[row]], [texts[row]])).logits[0, -1]
            for row in (1, 0, 1)
        ]
    assert torch.allclose(found, torch.stack(alone), atol=1e-4)


def test_images_that_cannot_be_told_apart_are_refused() -> None:
    model, processor = tiny_lvlm("molmo2")
    processor.use_single_crop_start_token = False
    with pytest.raises(UnsupportedError, match="use_single_crop_start_token = True"):
        Molmo2Adapter(model, processor).encode([[ramp(30, 30)]], ["What?"])
