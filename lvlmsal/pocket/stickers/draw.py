"""Drawing of scenes: background, stickers back to front, blur and noise."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from lvlmsal.pocket.stickers.backgrounds import background
from lvlmsal.pocket.stickers.glyphs import picture
from lvlmsal.pocket.stickers.scene import SIDE, Scene, Sticker


def _shape(sticker: Sticker) -> npt.NDArray[np.float32]:
    """The picture of a sticker as it is pasted: red, green, blue times opacity, and opacity."""
    whole = picture(sticker.glyph, sticker.color)
    scale = sticker.size / max(whole.size)
    width, height = (max(1, round(edge * scale)) for edge in whole.size)
    shape = whole.resize((width, height), Image.Resampling.BILINEAR)
    if sticker.mirrored:
        shape = shape.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = shape.rotate(sticker.angle, Image.Resampling.BILINEAR, expand=True)
    return np.asarray(turned, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A drawn scene.

    Attributes:
        image: ``(SIDE, SIDE, 3)`` RGB array.
        owner: ``(SIDE, SIDE)`` array: index in `Scene.things` + 1 of the object that is seen at
            each pixel, 0 for background and distractors.
    """

    image: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.uint8]


def draw(scene: Scene) -> Drawing:
    """Draw a scene.

    Args:
        scene: What to draw.

    Returns:
        The image and what is seen where; equal scenes yield equal drawings.

    Raises:
        UnsupportedError: The font is missing or another one.
    """
    canvas = np.array(background(scene.place, random.Random(scene.seed)), dtype=np.float32)
    owner = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for index, sticker in enumerate((*scene.distractors, *scene.things)):
        shape = _shape(sticker)
        top, left = sticker.y - shape.shape[0] // 2, sticker.x - shape.shape[1] // 2
        # what lies beyond the border is cut off
        shape = shape[max(0, -top) : SIDE - top, max(0, -left) : SIDE - left]
        top, left = max(0, top), max(0, left)
        rows, columns = slice(top, top + len(shape)), slice(left, left + shape.shape[1])
        cover = shape[:, :, 3:] / 255.0
        canvas[rows, columns] *= 1.0 - sticker.strength * cover
        canvas[rows, columns] += sticker.strength * sticker.light * shape[:, :, :3]
        owner[rows, columns][cover[:, :, 0] > 0.5] = max(0, index - len(scene.distractors) + 1)
    if scene.blur:
        soft = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)).filter(
            ImageFilter.BoxBlur(scene.blur)
        )
        canvas = np.asarray(soft, dtype=np.float32)
    noise = np.random.default_rng(scene.seed).standard_normal((SIDE, SIDE, 1), dtype=np.float32)
    noisy = np.clip(np.rint(canvas + scene.noise * noise), 0, 255).astype(np.uint8)
    return Drawing(noisy, owner)
