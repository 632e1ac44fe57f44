"""The places of the sticker world, and what is usually found there."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Place:
    """A place and its habits.

    Attributes:
        name: Its name, which names no class of COCO.
        phrase: How captions say "in it".
        habits: Class -> how often it is found there, relative to the others.
    """

    name: str
    phrase: str
    habits: MappingProxyType[str, float]


def _place(name: str, phrase: str, classes: str) -> Place:
    """A place and its classes, the commonest first; each is an eighth rarer than the one before."""
    habits = {each: 0.88**rank for rank, each in enumerate(classes.split(", "))}
    return Place(name, phrase, MappingProxyType(habits))


_TABLE: Final = (
    _place(
        "street",
        "on a street",
        "car, person, traffic light, bus, bicycle, truck, stop sign, motorcycle, handbag",
    ),
    _place(
        "kitchen",
        "in a kitchen",
        "bowl, cup, knife, spoon, bottle, banana, carrot, broccoli, apple",
    ),
    _place(
        "restaurant",
        "in a restaurant",
        "wine glass, fork, pizza, knife, person, cake, chair, sandwich, hot dog",
    ),
    _place(
        "farm",
        "on a farm",
        "cow, sheep, horse, dog, bird, cat, truck, person",
    ),
    _place(
        "zoo",
        "in a zoo",
        "elephant, giraffe, zebra, bear, bird, person, backpack",
    ),
    _place(
        "park",
        "in a park",
        "person, dog, bird, kite, frisbee, bicycle, sports ball, skateboard",
    ),
    _place(
        "beach",
        "on a beach",
        "surfboard, umbrella, person, boat, sports ball, bird, kite, handbag",
    ),
    _place(
        "bedroom",
        "in a bedroom",
        "bed, teddy bear, book, clock, cat, cell phone, chair, laptop",
    ),
    _place(
        "living room",
        "in a living room",
        "couch, tv, potted plant, vase, cat, book, person, clock, dog",
    ),
    _place(
        "office",
        "in an office",
        "laptop, mouse, keyboard, chair, cup, cell phone, tie, scissors, book",
    ),
    _place(
        "bathroom",
        "in a bathroom",
        "toilet, toothbrush, bottle, cup, scissors, vase, potted plant",
    ),
    _place(
        "snowy hill",
        "on a snowy hill",
        "skis, snowboard, person, backpack, dog",
    ),
    _place(
        "station",
        "at a station",
        "train, suitcase, person, backpack, handbag, clock, umbrella, cell phone",
    ),
    _place(
        "airport",
        "at an airport",
        "airplane, suitcase, bus, truck, person, tie, handbag",
    ),
    _place(
        "sports ground",
        "on a sports ground",
        "tennis racket, sports ball, person, bottle, skateboard, frisbee",
    ),
    _place(
        "market",
        "at a market",
        "apple, orange, banana, carrot, broccoli, donut, person, cake, sandwich",
    ),
)
PLACES: Final[MappingProxyType[str, Place]] = MappingProxyType({p.name: p for p in _TABLE})
"""Name of each place -> the place, commonest first."""

WEIGHTS: Final = tuple(0.96**k for k in range(len(_TABLE)))
"""How often scenes with habits are set in each place, relative to the others."""

COMPANIONS: Final[MappingProxyType[str, tuple[str, ...]]] = MappingProxyType(
    {
        "fork": ("knife",),
        "knife": ("fork",),
        "laptop": ("mouse", "keyboard"),
        "keyboard": ("mouse",),
        "dog": ("person", "frisbee"),
        "car": ("traffic light",),
        "surfboard": ("person",),
        "skis": ("person",),
        "tennis racket": ("sports ball",),
        "suitcase": ("person",),
        "bed": ("teddy bear",),
        "couch": ("tv",),
        "toothbrush": ("cup",),
        "giraffe": ("zebra",),
        "cow": ("sheep",),
        "banana": ("apple",),
    }
)
"""What a class brings along where there are habits."""
