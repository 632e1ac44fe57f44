"""What the checks of adapters ask about: three questions, with one, no and two random images."""

from __future__ import annotations

from typing import Final

import torch
from PIL import Image

QUESTIONS: Final = ("What is to be seen here?", "No picture at all.", "Are they the same? é")
"""Of three samples with one, no and two images."""


def random_images(seed: int = 0) -> list[list[Image.Image]]:
    """Draw the images of :data:`QUESTIONS`: one, none and two, all of different sizes.

    Args:
        seed: Of the pixels.

    Returns:
        A list of images for each question.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(width: int, height: int) -> Image.Image:
        pixels = torch.randint(256, (height, width, 3), generator=generator, dtype=torch.uint8)
        return Image.fromarray(pixels.numpy())

    return [[draw(90, 60)], [], [draw(33, 70), draw(64, 64)]]
