"""What lies behind the objects: one simple drawing for each place, with colors that vary."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from PIL import Image, ImageDraw

from lvlmsal.pocket.stickers.scene import SIDE

Color = tuple[int, int, int]
Pen = ImageDraw.ImageDraw


def _vary(rng: random.Random, color: Color, by: int = 14) -> Color:
    shift = rng.randint(-by, by)
    red, green, blue = (min(255, max(0, c + shift + rng.randint(-6, 6))) for c in color)
    return red, green, blue


def _halves(pen: Pen, rng: random.Random, top: Color, bottom: Color, at: float) -> int:
    """Fill what is above and below a horizon; returns its row."""
    row = round(SIDE * (at + rng.uniform(-0.06, 0.06)))
    pen.rectangle((0, 0, SIDE, row), fill=_vary(rng, top))
    pen.rectangle((0, row, SIDE, SIDE), fill=_vary(rng, bottom))
    return row


def _street(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (196, 216, 232), (128, 130, 136), 0.5)
    left = 0
    while left < SIDE:
        width, height = rng.randint(26, 52), rng.randint(30, 80)
        pen.rectangle((left, row - height, left + width, row), fill=_vary(rng, (186, 170, 160), 26))
        for x in range(left + 5, left + width - 6, 12):
            for y in range(row - height + 6, row - 8, 14):
                pen.rectangle((x, y, x + 5, y + 7), fill=_vary(rng, (214, 222, 226)))
        left += width
    for x in range(0, SIDE, 36):
        pen.rectangle((x, row + 44, x + 18, row + 48), fill=(236, 236, 228))


def _tiles(pen: Pen, rng: random.Random, row: int, step: int, line: Color) -> None:
    for at in range(0, SIDE, step):
        pen.line((at, 0, at, row), fill=line)
    for at in range(0, row, step):
        pen.line((0, at, SIDE, at), fill=line)


def _kitchen(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (236, 232, 214), (196, 158, 112), 0.46)
    _tiles(pen, rng, row, 24, _vary(rng, (206, 204, 190)))
    pen.rectangle((0, row, SIDE, row + 8), fill=_vary(rng, (150, 116, 78)))


def _restaurant(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (206, 178, 150), (240, 236, 228), 0.3)
    check = _vary(rng, (222, 170, 164))
    for x in range(0, SIDE, 32):
        for y in range(row, SIDE, 32):
            pen.rectangle((x, y, x + 15, y + 15), fill=check)


def _farm(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (184, 216, 240), (150, 194, 104), 0.4)
    x = rng.randint(0, SIDE - 60)
    pen.rectangle((x, row - 34, x + 48, row), fill=_vary(rng, (176, 88, 76)))
    pen.polygon([(x - 5, row - 34), (x + 24, row - 56), (x + 53, row - 34)], fill=(120, 70, 60))
    for post in range(0, SIDE, 24):
        pen.rectangle((post, row - 4, post + 4, row + 18), fill=(150, 120, 84))
    pen.rectangle((0, row + 4, SIDE, row + 7), fill=(150, 120, 84))


def _zoo(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (170, 204, 160), (220, 196, 148), 0.42)
    for x in range(0, SIDE, 40):
        pen.ellipse((x - 14, row - 40, x + 36, row + 4), fill=_vary(rng, (120, 168, 112)))
    for x in range(6, SIDE, 20):
        pen.rectangle((x, 0, x + 2, row), fill=(130, 130, 126))


def _park(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (178, 216, 244), (132, 196, 104), 0.38)
    for x in range(rng.randint(-20, 0), SIDE, rng.randint(52, 76)):
        pen.rectangle((x + 17, row - 20, x + 23, row + 4), fill=(128, 96, 66))
        pen.ellipse((x, row - 58, x + 40, row - 12), fill=_vary(rng, (88, 158, 84)))
    path = _vary(rng, (224, 206, 168))
    pen.polygon([(80, row), (104, row), (150, SIDE), (50, SIDE)], fill=path)


def _beach(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (176, 222, 248), (240, 220, 168), 0.36)
    pen.rectangle((0, row - 6, SIDE, row + 26), fill=_vary(rng, (86, 168, 216)))
    for x in range(0, SIDE, 28):
        pen.arc((x, row + 16, x + 28, row + 32), 0, 180, fill=(240, 248, 250), width=3)
    x = rng.randint(10, SIDE - 40)
    pen.ellipse((x, 8, x + 26, 34), fill=(252, 232, 140))


def _bedroom(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (214, 200, 226), (190, 152, 120), 0.56)
    for x in range(0, SIDE, 20):
        pen.rectangle((x, 0, x + 8, row), fill=_vary(rng, (226, 214, 236), 3))
    _window(pen, rng, rng.randint(16, 110), 14)


def _window(pen: Pen, rng: random.Random, x: int, y: int) -> None:
    pen.rectangle(
        (x, y, x + 54, y + 46), fill=_vary(rng, (190, 224, 246)), outline=(250, 250, 246), width=4
    )
    pen.line((x + 27, y, x + 27, y + 46), fill=(250, 250, 246), width=3)


def _living_room(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (232, 212, 178), (170, 126, 96), 0.58)
    pen.ellipse((24, row + 16, SIDE - 24, SIDE - 8), fill=_vary(rng, (190, 92, 92)))
    x = rng.randint(20, 120)
    pen.rectangle(
        (x, 16, x + 44, 48), fill=_vary(rng, (130, 176, 170), 40), outline=(120, 90, 60), width=3
    )


def _office(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (222, 226, 230), (160, 166, 176), 0.54)
    for x in (14, 76, 138):
        _window(pen, rng, x, 12)
    pen.rectangle((0, row, SIDE, row + 6), fill=_vary(rng, (110, 112, 120)))


def _bathroom(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (200, 230, 232), (226, 232, 234), 0.6)
    _tiles(pen, rng, row, 16, _vary(rng, (168, 206, 210)))
    for at in range(-SIDE, SIDE, 24):
        pen.line((at, SIDE, at + SIDE - row, row), fill=(196, 206, 210))


def _snowy_hill(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (172, 204, 236), (240, 244, 250), 0.46)
    for _ in range(3):
        x, height = rng.randint(-20, SIDE - 30), rng.randint(36, 70)
        pen.polygon(
            [(x, row), (x + 45, row - height), (x + 90, row)], fill=_vary(rng, (150, 164, 184))
        )
        pen.polygon(
            [
                (x + 30, row - height * 2 // 3),
                (x + 45, row - height),
                (x + 60, row - height * 2 // 3),
            ],
            fill=(248, 250, 252),
        )
    for _ in range(40):
        x, y = rng.randrange(SIDE), rng.randrange(SIDE)
        pen.ellipse((x, y, x + 2, y + 2), fill=(255, 255, 255))


def _station(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (206, 208, 204), (176, 172, 166), 0.56)
    for x in range(10, SIDE, 58):
        pen.rectangle((x, 18, x + 7, row), fill=_vary(rng, (112, 124, 120)))
    pen.rectangle((0, 8, SIDE, 20), fill=_vary(rng, (96, 110, 106)))
    pen.rectangle((0, row, SIDE, row + 5), fill=(236, 206, 70))
    for y in (SIDE - 26, SIDE - 10):
        pen.rectangle((0, y, SIDE, y + 3), fill=(96, 92, 90))


def _airport(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (160, 202, 240), (150, 156, 158), 0.6)
    x = rng.randint(0, SIDE - 30)
    pen.rectangle((x + 6, row - 52, x + 16, row), fill=(190, 192, 196))
    pen.rectangle((x, row - 64, x + 22, row - 48), fill=_vary(rng, (120, 150, 170)))
    for at in range(0, SIDE, 30):
        pen.rectangle((at, row + 34, at + 16, row + 38), fill=(246, 246, 240))


def _sports_ground(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (150, 180, 150), (206, 112, 84), 0.34)
    white = (246, 244, 240)
    pen.line((12, row + 10, SIDE - 12, row + 10), fill=white, width=3)
    pen.line((12, row + 10, 0, SIDE), fill=white, width=3)
    pen.line((SIDE - 12, row + 10, SIDE, SIDE), fill=white, width=3)
    for x in range(0, SIDE, 8):
        pen.line((x, row - 24, x, row), fill=(110, 130, 116))


def _market(pen: Pen, rng: random.Random) -> None:
    row = _halves(pen, rng, (226, 214, 196), (186, 150, 110), 0.5)
    stripe = _vary(rng, (206, 74, 74), 30)
    for k, x in enumerate(range(0, SIDE, 24)):
        pen.rectangle((x, 0, x + 23, 26), fill=stripe if k % 2 else (248, 244, 238))
        pen.pieslice((x, 14, x + 23, 38), 0, 180, fill=stripe if k % 2 else (248, 244, 238))
    for y in range(row, SIDE, 22):
        pen.line((0, y, SIDE, y), fill=(140, 108, 76), width=3)


_DRAWINGS: Final[dict[str, Callable[[Pen, random.Random], None]]] = {
    "street": _street,
    "kitchen": _kitchen,
    "restaurant": _restaurant,
    "farm": _farm,
    "zoo": _zoo,
    "park": _park,
    "beach": _beach,
    "bedroom": _bedroom,
    "living room": _living_room,
    "office": _office,
    "bathroom": _bathroom,
    "snowy hill": _snowy_hill,
    "station": _station,
    "airport": _airport,
    "sports ground": _sports_ground,
    "market": _market,
}


def background(place: str, rng: random.Random) -> Image.Image:
    """An empty place.

    Args:
        place: A key of `lvlmsal.pocket.stickers.places.PLACES`.
        rng: Decides colors and where things of the background are.

    Returns:
        ``SIDE`` x ``SIDE`` RGB image.
    """
    canvas = Image.new("RGB", (SIDE, SIDE))
    _DRAWINGS[place](ImageDraw.Draw(canvas), rng)
    return canvas
