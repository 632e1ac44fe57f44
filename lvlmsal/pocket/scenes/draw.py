"""Drawing of scenes: shapes as polygons, then opacity, smudges and noise."""

from __future__ import annotations

from functools import lru_cache
from math import cos, pi, sin
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from lvlmsal.pocket.scenes.scene import COLORS, Scene, Thing

_FINE: Final = 160
"""Side in pixels of the canvas on which a shape is drawn before it is scaled down."""


def _circle_points(count: int, radii: tuple[float, ...], start: float) -> list[tuple[float, float]]:
    return [
        (
            0.5 + radii[i % len(radii)] * cos(start + 2 * pi * i / count),
            0.5 + radii[i % len(radii)] * sin(start + 2 * pi * i / count),
        )
        for i in range(count)
    ]


_POLYGONS: Final[dict[str, list[tuple[float, float]]]] = {
    "square": [(0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)],
    "triangle": [(0.5, 0.02), (1.0, 0.96), (0.0, 0.96)],
    "diamond": [(0.5, 0.0), (0.9, 0.5), (0.5, 1.0), (0.1, 0.5)],
    "star": _circle_points(10, (0.5, 0.2), -pi / 2),
    "arrow": [(0, 0.36), (0.5, 0.36), (0.5, 0.08), (1, 0.5), (0.5, 0.92), (0.5, 0.64), (0, 0.64)],
    "hourglass": [(0.05, 0.0), (0.95, 0.0), (0.58, 0.5), (0.95, 1.0), (0.05, 1.0), (0.42, 0.5)],
    "house": [
        *((0.5, 0.0), (1.0, 0.42), (0.86, 0.42), (0.86, 1.0), (0.62, 1.0), (0.62, 0.62)),
        *((0.38, 0.62), (0.38, 1.0), (0.14, 1.0), (0.14, 0.42), (0.0, 0.42)),
    ],
    "tree": [
        *((0.5, 0.0), (0.82, 0.4), (0.66, 0.4), (0.96, 0.76), (0.58, 0.76), (0.58, 1.0)),
        *((0.42, 1.0), (0.42, 0.76), (0.04, 0.76), (0.34, 0.4), (0.18, 0.4)),
    ],
    "flag": [(0.08, 0.0), (0.96, 0.26), (0.24, 0.54), (0.24, 1.0), (0.08, 1.0)],
    "cross": [
        *((0.34, 0.0), (0.66, 0.0), (0.66, 0.34), (1.0, 0.34), (1.0, 0.66), (0.66, 0.66)),
        *((0.66, 1.0), (0.34, 1.0), (0.34, 0.66), (0.0, 0.66), (0.0, 0.34), (0.34, 0.34)),
    ],
}


def _box(*corners: float) -> tuple[float, ...]:
    return tuple(corner * _FINE for corner in corners)


def _draw_round(shape: str, pen: ImageDraw.ImageDraw) -> None:
    """Draw a shape that is no plain polygon."""

    def scaled(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x * _FINE, y * _FINE) for x, y in points]

    if shape == "circle":
        pen.ellipse(_box(0.02, 0.02, 0.98, 0.98), fill=255)
    elif shape == "ring":
        pen.ellipse(_box(0.0, 0.0, 1.0, 1.0), fill=255)
        pen.ellipse(_box(0.26, 0.26, 0.74, 0.74), fill=0)
    elif shape == "moon":
        pen.ellipse(_box(0.0, 0.0, 1.0, 1.0), fill=255)
        pen.ellipse(_box(0.34, -0.06, 1.22, 0.82), fill=0)
    elif shape == "heart":
        pen.ellipse(_box(0.0, 0.06, 0.54, 0.58), fill=255)
        pen.ellipse(_box(0.46, 0.06, 1.0, 0.58), fill=255)
        pen.polygon(scaled([(0.03, 0.43), (0.5, 0.3), (0.97, 0.43), (0.5, 0.98)]), fill=255)
    elif shape == "fish":
        pen.ellipse(_box(0.0, 0.22, 0.74, 0.78), fill=255)
        pen.polygon(scaled([(0.62, 0.5), (1.0, 0.14), (1.0, 0.86)]), fill=255)
    elif shape == "umbrella":
        pen.pieslice(_box(0.0, 0.02, 1.0, 1.02), 180, 360, fill=255)
        pen.rectangle(_box(0.44, 0.5, 0.56, 0.98), fill=255)
        pen.rectangle(_box(0.44, 0.86, 0.78, 0.98), fill=255)
    else:
        raise ValueError(f"no drawing for the shape {shape!r}")


@lru_cache(maxsize=1024)
def shape_mask(shape: str, size: int) -> npt.NDArray[np.float32]:
    """Coverage of a shape on its square.

    Args:
        shape: One of `lvlmsal.pocket.scenes.scene.SHAPES`.
        size: Side of the square, pixels.

    Returns:
        ``(size, size)`` array of coverages in 0 to 1. Do not write to it: it is shared.

    Raises:
        ValueError: There is no such shape.

    Example:
        >>> bool(shape_mask("square", 16)[8, 8] == 1.0)
        True
    """
    canvas = Image.new("L", (_FINE, _FINE), 0)
    pen = ImageDraw.Draw(canvas)
    if shape in _POLYGONS:
        pen.polygon([(x * _FINE, y * _FINE) for x, y in _POLYGONS[shape]], fill=255)
    else:
        _draw_round(shape, pen)
    small = canvas.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255.0


@lru_cache(maxsize=64)
def _blot(size: int) -> npt.NDArray[np.float32]:
    """Soft round spot, (size, size)."""
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    squared = axis[:, None] ** 2 + axis[None, :] ** 2
    spot: npt.NDArray[np.float32] = np.clip(1.4 * (1.0 - squared), 0.0, 1.0)
    return spot


def bounding_box(thing: Thing) -> tuple[int, int, int, int]:
    """Box around what is drawn of an object, as COCO has it.

    Args:
        thing: The object.

    Returns:
        ``(left, top, width, height)`` in pixels.
    """
    covered = shape_mask(thing.shape, thing.size) > 0.5
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    return (
        thing.left + int(columns[0]),
        thing.top + int(rows[0]),
        int(columns[-1] - columns[0]) + 1,
        int(rows[-1] - rows[0]) + 1,
    )


def area(thing: Thing) -> int:
    """Number of pixels that an object covers by more than half."""
    return int((shape_mask(thing.shape, thing.size) > 0.5).sum())


def draw(scene: Scene) -> npt.NDArray[np.uint8]:
    """Draw a scene.

    Args:
        scene: What to draw.

    Returns:
        ``(height, width, 3)`` RGB array; equal scenes yield equal arrays.

    Example:
        >>> import random
        >>> from lvlmsal.pocket.scenes.scene import sample_scene
        >>> draw(sample_scene(random.Random(0))).dtype
        dtype('uint8')
    """
    canvas = np.full((scene.height, scene.width, 3), float(scene.level), dtype=np.float32)
    spots = [(s.left, s.top, s.size, s.color, s.strength * _blot(s.size)) for s in scene.smudges]
    spots += [
        (t.left, t.top, t.size, t.color, t.strength * shape_mask(t.shape, t.size))
        for t in scene.things
    ]
    for left, top, size, color, cover in spots:
        window = canvas[top : top + size, left : left + size]
        opacity = cover[:, :, None]
        window += opacity * (np.asarray(COLORS[color], dtype=np.float32) - window)
    noise = np.random.default_rng(scene.noise_seed)
    canvas += scene.noise * noise.standard_normal(canvas.shape, dtype=np.float32)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
