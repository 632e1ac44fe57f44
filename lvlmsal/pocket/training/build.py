"""The pocket models by name, untrained."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from lvlmsal.pocket.training.families.idefics3 import PocketIdefics3
from lvlmsal.pocket.training.families.llava import PocketLlava
from lvlmsal.pocket.training.families.qwen2vl import PocketQwen2VL
from lvlmsal.pocket.training.pocket import Pocket

POCKETS: Final = MappingProxyType(
    {made.name: made for made in (PocketIdefics3, PocketLlava, PocketQwen2VL)}
)
"""Name of each model -> what builds it."""


def build(name: str, *, tiny: bool = False) -> Pocket:
    """Make an untrained pocket model. Set the torch seed first if its weights shall be repeatable.

    Args:
        name: A key of `POCKETS`.
        tiny: A far smaller one of the same make, for tests.

    Returns:
        The model with its tokenizer and image processor.

    Raises:
        ValueError: There is no such model.
    """
    if name not in POCKETS:
        raise ValueError(f"unknown pocket model {name!r}; known: {', '.join(POCKETS)}")
    return POCKETS[name](tiny)
